"""Sessions of one KPI in one group: runs of moments of which each is not further than the gap from the next.

Which sessions there are, and what they have counted, follows from the moments that facts count at and from nothing
else: moments that come can join sessions, moments that go can split them. What was counted is kept by moment, until it
cannot change any more; then the oldest moments of a session become one. A late change belongs to its moment, and to
the session around it, if there is one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, TypeAlias

from operators.feedback.lanes import NOTHING, Kpi, Outcome, Tally

Session: TypeAlias = "list[Any]"
"""First moment; the last of those that have become one with it; last moment; tally of all; tallies by moment."""
State: TypeAlias = "tuple[list[Session], dict[int, Tally], dict[int, int]]"
"""Sessions in order; moments at which more was taken out than had come; late changes by moment."""
Shown: TypeAlias = "dict[int, tuple[int, Outcome]]"
"""By the begin of a session: its end, not included, and its outcome."""

FIRST, JOINED, LAST, ALL, MOMENTS = range(5)
_FIRST = itemgetter(FIRST)


class Sessions:
    """Looks after the sessions of one state, which it changes.

    :arg gap: Milliseconds from one moment to the next, at most.
    """

    def __init__(self, kpi: Kpi, gap: int, state: State | None = None) -> None:
        self.state: State = ([], {}, {}) if state is None else state
        self._kpi = kpi
        self._gap = gap
        self._sessions, self._owed, self._late = self.state

    def apply(self, changes: dict[int, Tally]) -> Iterator[tuple[int, int, Outcome]]:
        """Change what was counted at some moments; yield begin, end and outcome of sessions that are not as before.

        One that is gone, or begins at another moment, has a count of 0 at its old begin.
        """
        before = self._around(changes)
        for moment, change in changes.items():
            self._count(moment, change)
        after = self._around(changes)
        for start, (end, _) in before.items():
            if start not in after:
                yield start, end, NOTHING
        for start, shown in after.items():
            if before.get(start) != shown:
                yield start, *shown

    def forget(self, limit: int) -> None:
        """Forget sessions that nothing from `limit` on can join, and the single moments before it of the others.

        What is from before `limit` must not be applied any more.
        """
        gap, sessions = self._gap, self._sessions
        sessions[:] = [session for session in sessions if session[LAST] + gap >= limit]
        for session in sessions:
            self._make_one(session, limit)
        for moment in [moment for moment in self._owed if moment < limit]:
            del self._owed[moment]
        for moment in [moment for moment in self._late if moment < limit - gap and self._at(moment) < 0]:
            del self._late[moment]

    def is_empty(self) -> bool:
        """Tell whether there is nothing to remember."""
        return not any(self.state)

    def _around(self, moments: Iterable[int]) -> Shown:
        """Return the sessions that any of `moments` is in, or not further than the gap from."""
        found = {place for moment in moments for place in self._near(moment)}
        sessions = [self._sessions[place] for place in sorted(found)]
        return {session[FIRST]: (session[LAST] + 1, self._outcome(session)) for session in sessions}

    def _outcome(self, session: Session) -> Outcome:
        first, last = session[FIRST], session[LAST]
        late = sum(count for moment, count in self._late.items() if first <= moment <= last)
        count, _, state = session[ALL]
        return self._kpi.outcome((count, late, state), last + 1 - first)

    def _at(self, moment: int) -> int:
        """Return the place of the session that `moment` is in, or -1."""
        place = bisect_right(self._sessions, moment, key=_FIRST) - 1
        return place if place >= 0 and self._sessions[place][LAST] >= moment else -1

    def _near(self, moment: int) -> range:
        """Return the places of the sessions that are not further than the gap from `moment`: up to two neighbours."""
        sessions, gap = self._sessions, self._gap
        after = bisect_right(sessions, moment, key=_FIRST)
        first = after - 1 if after and sessions[after - 1][LAST] + gap >= moment else after
        return range(first, after + 1 if after < len(sessions) and sessions[after][FIRST] - gap <= moment else after)

    def _count(self, moment: int, change: Tally) -> None:
        count, late, state = change
        if late:
            self._late[moment] = self._late.get(moment, 0) + late
        change = (count, 0, state)
        place = self._at(moment)
        session = self._sessions[place] if place >= 0 else None
        if session is None or moment not in session[MOMENTS]:
            tally = self._kpi.merge(self._owed.pop(moment, None), change)
            if tally[0] > 0:
                self._come(moment, tally)
            elif not self._kpi.blank(tally):
                self._owed[moment] = tally
            return
        tally = session[MOMENTS][moment] = self._kpi.merge(session[MOMENTS][moment], change)
        session[ALL] = self._kpi.merge(session[ALL], change)
        if tally[0] <= 0:
            self._go(place, moment)

    def _come(self, moment: int, tally: Tally) -> None:
        """Put in a moment that was not there: it begins, extends or joins sessions."""
        near, sessions, merge = self._near(moment), self._sessions, self._kpi.merge
        if not near:
            sessions.insert(near.start, [moment, moment, moment, merge(None, tally), {moment: tally}])
            return
        session = sessions[near[0]]
        session[MOMENTS][moment] = tally
        session[ALL] = merge(session[ALL], tally)
        if moment < session[FIRST]:
            session[FIRST] = session[JOINED] = moment
        session[LAST] = max(session[LAST], moment)
        if len(near) > 1:
            other = sessions.pop(near[1])
            session[MOMENTS].update(other[MOMENTS])
            session[ALL] = merge(session[ALL], other[ALL])
            session[LAST] = other[LAST]

    def _go(self, place: int, moment: int) -> None:
        """Take a moment out of its session, of which none, one or two are left."""
        session = self._sessions[place]
        moments: dict[int, Tally] = session[MOMENTS]
        tally = moments.pop(moment)
        if not self._kpi.blank(tally):
            self._owed[moment] = tally
            session[ALL] = self._sum(moments)
        earlier = max((time for time in moments if time < moment), default=None)
        later = min((time for time in moments if time > moment), default=None)
        upto: int | None = session[JOINED] if earlier == session[FIRST] else earlier
        if upto is None and later is None:
            del self._sessions[place]
        elif upto is None:
            session[FIRST] = session[JOINED] = later
        elif later is None:
            session[LAST] = upto
        elif later - upto > self._gap:
            rest = {time: moments.pop(time) for time in [time for time in moments if time > moment]}
            self._sessions.insert(place + 1, [later, later, session[LAST], self._sum(rest), rest])
            session[LAST], session[ALL] = upto, self._sum(moments)

    def _make_one(self, session: Session, limit: int) -> None:
        moments = session[MOMENTS]
        past = sorted(moment for moment in moments if moment < limit)
        for moment in past[1:]:
            moments[past[0]] = self._kpi.merge(moments[past[0]], moments.pop(moment))
            session[JOINED] = moment

    def _sum(self, moments: dict[int, Tally]) -> Tally:
        tally: Tally | None = None
        for one in moments.values():
            tally = self._kpi.merge(tally, one)
        return tally or self._kpi.merge(None, (0, 0, self._kpi.aggregate.state((), ())))
