"""What the profile store is told to do with rows: pure functions, handed in by the dataflow.

Summaries are opaque here: whoever writes them reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from events.changes import Row
from events.persons import Member
from events.profiles import Activity, Profile, RecordRow


class ProfileLogic(Protocol):
    """Tables are named as in the settings. Nothing here raises because of what a row holds."""

    def owner(self, table: str, source: str, row: Row) -> str | None:
        """Return the key of the record that an activity belongs to; None if the row does not say."""
        ...

    def activity(self, row: RecordRow) -> Activity:
        """Return what a row of an activity table says."""
        ...

    def added(self, table: str, summary: bytes | None, activity: Activity) -> bytes:
        """Return the summary with one more activity; None is that of no activity."""
        ...

    def removed(self, table: str, summary: bytes, activity: Activity) -> bytes | None:
        """Return the summary with one activity less; empty without any, None if only summing up anew can tell."""
        ...

    def summed(self, table: str, activities: Iterable[Activity]) -> bytes | None:
        """Return the summary of all activities of one record; None without any. What `added` comes to, one by one."""
        ...

    def profile(
        self, members: Sequence[Member], rows: Sequence[RecordRow], summaries: Mapping[str, Sequence[bytes]]
    ) -> Profile:
        """Return the profile of one person.

        :arg members: All its members, earliest first; at least one.
        :arg rows: Their rows, as far as the store has them.
        :arg summaries: By activity table, those of the members that have any.
        """
        ...
