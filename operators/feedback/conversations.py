"""One conversation: what stands of its events, and who is whose neighbour in it.

What belongs to what is a function of the set of events: of two with one id the newer stands, neighbours are neighbours
by event time, and nothing belongs together that is further apart than the horizon. State is the rows alone; the sorted
lists beside them are made of these when a conversation is opened.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Any, TypeAlias

from events.feedback import SPEAKING
from operators.feedback.rows import (
    ABOUT,
    APPLICATION,
    CONTEXT,
    KINDS,
    LANGUAGE,
    PERSON,
    ROLE,
    TIME,
    TOLD,
    TOPIC,
    Key,
    Kind,
    Row,
    SavedVerdict,
    weight,
)

Place: TypeAlias = "tuple[int, int, str]"
"""Event time of a turn, who speaks, its id: the order of what is said in a conversation."""

Edge: TypeAlias = "Place | tuple[int]"
"""A place, or before all places of an event time."""

Entry: TypeAlias = "tuple[int, int, dict[str, Row], dict[str, Row], dict[str, Row], dict[str, Row], dict[str, Any]]"
"""Newest event time, how many events were refused; turns, ratings, comments, contexts by id; late verdicts by kind and
id, of each by event time."""

NEVER = -(2**63)
"""Before every event time."""

INHERITED = (APPLICATION, LANGUAGE, PERSON)
"""What a turn has of its neighbours if it does not say it: of the nearest before, else of the nearest after it."""


class Conversation:
    """The rows of one conversation, and sorted lists of their places.

    :arg id: Its id.
    :arg horizon: Milliseconds that what belongs together may be apart.
    :arg entry: Its state; what it holds changes with the conversation.
    """

    __slots__ = (
        "about", "answers", "contexts", "holders", "horizon", "id", "naming", "newest", "order", "refused", "rows",
        "shown", "size", "topical", "verdicts", "whole",
    )  # fmt: skip

    def __init__(self, id_: str, horizon: int, entry: Entry | None = None) -> None:
        self.id = id_
        self.horizon = horizon
        self.newest, self.refused, turns, ratings, comments, contexts, self.verdicts = entry or (
            NEVER, 0, {}, {}, {}, {}, {},
        )  # fmt: skip
        self.rows: dict[Kind, dict[str, Row]] = dict(zip(KINDS, (turns, ratings, comments, contexts), strict=True))
        self.size = len(self.verdicts)
        # All turns; answers; turns that say what others inherit; questions that have a topic; contexts.
        self.order: list[Place] = []
        self.answers: list[Place] = []
        self.holders: dict[int, list[Place]] = {field: [] for field in INHERITED}
        self.topical: list[Place] = []
        self.shown: list[tuple[int, str]] = []
        # Ratings and comments of the whole conversation; those of each turn; turns that name a context.
        self.whole: list[tuple[int, Kind, str]] = []
        self.about: dict[str, dict[Key, None]] = {}
        self.naming: dict[str, dict[str, None]] = {}
        for kind, rows in self.rows.items():
            for id_of_row, row in rows.items():
                self._enter((kind, id_of_row), row)

    def entry(self) -> Entry:
        """Return the state: the live rows, uncopied."""
        turns, ratings, comments, contexts = self.rows.values()
        return (self.newest, self.refused, turns, ratings, comments, contexts, self.verdicts)

    def put(self, key: Key, row: Row) -> None:
        """Add a row that is not there."""
        self.rows[key[0]][key[1]] = row
        self._enter(key, row)

    def tell(self, key: Key, watermark: int, *, anew: bool) -> int:
        """Note that the facts of a row are told; return the watermark for those that had been told before.

        :arg watermark: Of the event that brings the change about.
        :arg anew: Whether there was no fact of the row.
        """
        rows = self.rows[key[0]]
        row = rows[key[1]]
        told: int = watermark if anew else max(row[TOLD], watermark)
        if told != row[TOLD]:
            rows[key[1]] = (*row[:TOLD], told)
        return told

    def remove(self, key: Key) -> None:
        """Take a row out; its late verdicts stay."""
        kind, id_ = key
        row = self.rows[kind].pop(id_)
        self.size -= weight(kind, row)
        if kind == "turns":
            for places in self._places_of(id_, row):
                del places[bisect_left(places, place_of(id_, row))]
            if row[CONTEXT]:
                _drop(self.naming, row[CONTEXT], id_)
        elif kind == "contexts":
            del self.shown[bisect_left(self.shown, (row[TIME], id_))]
        elif row[ABOUT]:
            _drop(self.about, row[ABOUT], key)
        else:
            del self.whole[bisect_left(self.whole, (row[TIME], kind, id_))]

    def verdict(self, key: Key, time: int) -> SavedVerdict | None:
        """Return the late verdict of the event with this key and event time."""
        return self.verdicts[key[0] + key[1]].get(time) if self.verdicts and key[0] + key[1] in self.verdicts else None

    def question_topic(self, id_: str, row: Row) -> str:
        """Return the topic of a question: its own, else that of its verdict; empty if there is none."""
        if row[TOPIC]:
            return str(row[TOPIC])
        verdict = self.verdict(("turns", id_), row[TIME])
        return verdict[1][0] if verdict is not None and verdict[1] else ""

    def topic(self, id_: str, row: Row) -> str:
        """Return the topic of a turn: its own; of an answer without one, that of the question before it."""
        if row[TOPIC]:
            return str(row[TOPIC])
        if row[ROLE] == "user":
            return self.question_topic(id_, row)
        if row[ROLE] != "assistant":
            return ""
        before = bisect_left(self.topical, place_of(id_, row)) - 1
        if before < 0 or row[TIME] - self.topical[before][0] > self.horizon:
            return ""
        question = self.topical[before][2]
        return self.question_topic(question, self.rows["turns"][question])

    def inherited(self, field: int, time: int, place: Edge) -> str:
        """Return what the nearest turn before `place`, at `time`, else the nearest after it says in `field`."""
        places = self.holders[field]
        at = bisect_left(places, place)
        if at and time - places[at - 1][0] <= self.horizon:
            return str(self.rows["turns"][places[at - 1][2]][field])
        if at < len(places) and places[at][0] - time <= self.horizon:
            return str(self.rows["turns"][places[at][2]][field])
        return ""

    def target(self, row: Row) -> str | None:
        """Return the id of the turn that a rating or comment is about.

        Of one of the whole conversation, that is the last answer until then, else the first turn there is.
        """
        turns, time = self.rows["turns"], row[TIME]
        if row[ABOUT]:
            turn = turns.get(row[ABOUT])
            return row[ABOUT] if turn is not None and abs(turn[TIME] - time) <= self.horizon else None
        at = bisect_left(self.answers, (time + 1,))
        if at and time - self.answers[at - 1][0] <= self.horizon:
            return self.answers[at - 1][2]
        at = bisect_left(self.order, (time - self.horizon,))
        if at < len(self.order) and self.order[at][0] - time <= self.horizon:
            return self.order[at][2]
        return None

    def context(self, row: Row) -> Row | None:
        """Return the row of the context that a turn names."""
        found = self.rows["contexts"].get(row[CONTEXT]) if row[CONTEXT] else None
        return found if found is not None and abs(found[TIME] - row[TIME]) <= self.horizon else None

    def _enter(self, key: Key, row: Row) -> None:
        kind, id_ = key
        self.size += weight(kind, row)
        if kind == "turns":
            place = place_of(id_, row)
            for places in self._places_of(id_, row):
                insort(places, place)
            if row[CONTEXT]:
                self.naming.setdefault(row[CONTEXT], {})[id_] = None
        elif kind == "contexts":
            insort(self.shown, (row[TIME], id_))
        elif row[ABOUT]:
            self.about.setdefault(row[ABOUT], {})[key] = None
        else:
            insort(self.whole, (row[TIME], kind, id_))

    def _places_of(self, id_: str, row: Row) -> list[list[Place]]:
        lists = [self.order]
        lists += [self.holders[field] for field in INHERITED if row[field]]
        if row[ROLE] == "assistant":
            lists.append(self.answers)
        elif row[ROLE] == "user" and self.question_topic(id_, row):
            lists.append(self.topical)
        return lists


def place_of(id_: str, row: Row) -> Place:
    """Return where a turn stands in its conversation."""
    return row[TIME], SPEAKING[row[ROLE]], id_


def _drop(index: dict[str, dict[Any, None]], name: str, member: object) -> None:
    members = index[name]
    del members[member]
    if not members:
        del index[name]


def between(places: list[Place], after: Edge, before: Edge) -> list[Place]:
    """Return the places after one and before another."""
    return places[bisect_right(places, after) : bisect_left(places, before)]
