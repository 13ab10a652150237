"""Former ids of persons: what a person was called before it lost its earliest record still leads to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from events.persons import PersonEvent
from stores.profiles.base import ProfileWriter


class Former:
    """Finds, for ids that persons have lost, a record that the person has now.

    What an event tells may come into the store with the next batch, but never after the end of its epoch.
    """

    def __init__(self, writer: ProfileWriter) -> None:
        self._writer = writer
        self._renamed: dict[str, str] = {}
        self._merged: dict[str, str] = {}

    def take(self, events: Iterable[PersonEvent]) -> None:
        """Take in what has happened to persons, after their members."""
        for event in events:
            if event.kind == "renamed":
                self._renamed[event.person] = event.others[0]
            elif event.kind == "merged":
                self._merged.update(dict.fromkeys(event.others, event.person))
        if not self._renamed:
            return
        ways = {former: list(_way(former, {**self._merged, **self._renamed})) for former in self._renamed}
        members = self._writer.members_of(list(dict.fromkeys(id_ for way in ways.values() for id_ in way)))
        # Whoever has been called anew may be part of another person since: the first of the way that is there.
        found = {
            former: members[id_][0].record for former, way in ways.items() for id_ in reversed(way) if id_ in members
        }
        self._writer.put_former(found)

    def close_epoch(self) -> None:
        """Forget what has not been found."""
        self._renamed.clear()
        self._merged.clear()


def _way(id_: str, leads: Mapping[str, str]) -> Iterator[str]:
    seen = {id_}
    while (following := leads.get(id_)) is not None and following not in seen:
        yield following
        seen.add(following)
        id_ = following
