"""What the profile store is told to do with rows, by the rules of its user.

`Profiler` is `stores.profiles.logic.ProfileLogic`, without knowing it. It keeps nothing but the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from events.changes import Row
from events.errors import RejectedError
from events.persons import Member
from events.profiles import Activity, Profile, RecordRow
from operators.changes.keys import canonical_key
from operators.profiles import collect
from operators.profiles.merge import profile_of
from operators.profiles.rules import ProfileRules


class Profiler:
    """Tables are named as in the settings. Nothing here raises because of what a row holds."""

    def __init__(self, rules: ProfileRules) -> None:
        self._rules = rules

    def owner(self, table: str, source: str, row: Row) -> str | None:
        """Return the key of the record that an activity belongs to; None if the row does not say.

        A reference is compared as keys are: the number 4711 is not the text `4711`. A source whose rows refer to
        numbers by text needs an encoding for that column.
        """
        rules = self._rules.activities[table]
        key = {column: row.get(reference) for reference, column in rules.by.items()}
        try:
            canonical = canonical_key(key)
        except RejectedError:
            return None
        of, name = rules.references
        return f"{of or source}/{name}/{canonical}"

    def activity(self, row: RecordRow) -> Activity:
        """Return what a row of an activity table says."""
        return collect.activity_of(self._rules.activities[row.table], row)

    def added(self, table: str, summary: bytes | None, activity: Activity) -> bytes:
        """Return the summary with one more activity; None is that of no activity."""
        before = collect.Summary() if summary is None else collect.from_bytes(summary)
        return collect.to_bytes(collect.added(self._rules.activities[table], before, activity))

    def removed(self, table: str, summary: bytes, activity: Activity) -> bytes | None:
        """Return the summary with one activity less; empty without any, None if only summing up anew can tell."""
        left = collect.removed(self._rules.activities[table], collect.from_bytes(summary), activity)
        if left is None:
            return None
        return collect.to_bytes(left) if left.count else b""

    def summed(self, table: str, activities: Iterable[Activity]) -> bytes | None:
        """Return the summary of all activities of one record; None without any. What `added` comes to, one by one."""
        summary = collect.summed(self._rules.activities[table], activities)
        return None if summary is None else collect.to_bytes(summary)

    def profile(
        self, members: Sequence[Member], rows: Sequence[RecordRow], summaries: Mapping[str, Sequence[bytes]]
    ) -> Profile:
        """Return the profile of one person.

        :arg members: All its members, earliest first; at least one.
        :arg rows: Their rows, as far as the store has them.
        :arg summaries: By activity table, those of the members that have any.
        """
        decoded = {table: [collect.from_bytes(one) for one in found] for table, found in summaries.items()}
        return profile_of(self._rules, members, rows, decoded)
