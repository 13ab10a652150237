"""What rows were before: kept as what each change changed, told as a function of the set of a row's events.

Versions are ordered as their changes are, whatever order they came in; what comes late is put between its neighbours,
and the version after it is compared with it. The last `FORMER_VERSIONS` and the row's own are kept: what is older than
these, or came before something that has been forgotten, changes nothing. What is told:

- A change tells the columns whose values before and after it are both known and differ. One that says nothing of a
  column has not changed it. Null and not there are the same.
- A delete tells the whole row before, a new beginning after a delete nothing but that. Of several deletes in a row the
  first one counts. A delete that is held back has not happened as long as it is; one that was discarded never has.
- A snapshot's read tells what was there, not since when: values that only a read has ended are not told.
- With the newest truncation a table begins anew: nothing from before it is told.
- Changes in a new generation of the source are compared with what was before it. A new primary key is another row.
- An event that comes again with the same position is the same event.

A time-to-live changes none of this: it says how a row is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from events.changes import Change, Position, Row, Standing, supersedes
from stores.rows.base import FORMER_VERSIONS, HELD, LIVE, Former, Kept, RowId, Step, StoredRow, Version
from stores.rows.join import Emptied, fill, join, standing_of


class Succession:
    """The versions that one batch makes of rows, before they are stored."""

    def __init__(self) -> None:
        self._versions: dict[RowId, list[Version]] = {}

    def add(self, old: StoredRow | None, new: StoredRow, change: Change) -> None:
        """Take note that `change` has made `new` of `old`."""
        id_ = new.source, new.key
        versions = self._versions.get(id_)
        if old is not None and change.position and change.position == old.standing.position:
            if versions:
                versions[-1] = msgspec.structs.replace(versions[-1], standing=new.standing, gaps=new.gaps)
            return
        if old is None:
            version = Version(new.standing, new.state, new.gaps, time_of(change))
        else:
            was, lacked = difference(old, new)
            version = Version(new.standing, new.state, new.gaps, time_of(change), was, lacked)
        if versions is None:
            self._versions[id_] = [version]
        else:
            versions.append(version)

    def steps(self, rows: Mapping[RowId, StoredRow]) -> tuple[list[Step], list[StoredRow]]:
        """Return, of rows that have changed, those that have new versions with these, and the others."""
        versions = self._versions
        steps = [Step(row, tuple(versions[id_])) for id_, row in rows.items() if id_ in versions]
        return steps, [row for id_, row in rows.items() if id_ not in versions]


def time_of(change: Change) -> int | None:
    """Return when a change happened, None if it is only known to have happened by then."""
    return None if change.op == "read" else change.event_time


def difference(old: StoredRow, new: StoredRow) -> tuple[Row, tuple[str, ...]]:
    """Return what has changed, as it was before, and which columns were not there before."""
    before, after = image_of(old), image_of(new)
    if old.state != LIVE or new.state != LIVE:
        # Whoever goes back sees which of the two was gone, and so without columns.
        return before, ()
    get = after.get
    was = {
        column: value
        for column, value in before.items()
        if (now := get(column, _ABSENT)) != value or (type(now) is not type(value) and not _same(now, value))
    }
    if len(after) == len(before) and all(column in after for column in was):
        return was, ()
    return was, tuple(column for column in after if column not in before)


def image_of(row: StoredRow) -> Row:
    """Return the columns of a row; of one that is gone, or was as far as its source says, none."""
    return row.image if row.state == LIVE and row.image is not None else {}


def rebuilt(kept: Kept) -> list[StoredRow]:
    """Return what a row was after each of its versions, the row itself last. Of a deleted one the image is None."""
    rows: list[StoredRow] = []
    row = kept.row
    image = image_of(row)
    for place in range(len(kept.versions) - 1, -1, -1):
        version = kept.versions[place]
        if place < len(kept.versions) - 1:
            after = kept.versions[place + 1]
            if after.was is None:
                break
            image = _before(image, version, after)
            row = msgspec.structs.replace(
                row,
                image=image if version.state == LIVE else None,
                state=version.state,
                standing=version.standing,
                gaps=version.gaps,
            )
        rows.append(row)
    return rows[::-1]


def inserted(kept: Kept, change: Change, now: int, emptied: Emptied | None) -> Kept | None:
    """Return what is kept of a row with a change that came late, or None if that changes nothing.

    :arg change: One that the row has no use for by itself, or that fills a gap of it: `join` says so.
    :arg now: When it is taken in (ms since epoch).
    :arg emptied: As for `join`.
    """
    standing = standing_of(change)
    if emptied is not None and not supersedes(standing, emptied.standing):
        return None
    rows = rebuilt(kept)
    versions = list(kept.versions[-len(rows) :])
    place = next((place for place in range(len(rows), 0, -1) if supersedes(standing, rows[place - 1].standing)), 0)
    is_known = any(_repeats(change, row.standing) for row in rows[max(place - 1, 0) : place + 1])
    is_whole = len(versions) == len(kept.versions) == kept.number + 1
    is_added = not is_known and (place > 0 or (is_whole and len(versions) <= FORMER_VERSIONS))
    filled = [row if index < place else fill(row, change, now) or row for index, row in enumerate(rows)]
    if not is_added and filled == rows:
        return None
    if is_added:
        new = join(rows[place - 1] if place else None, change, now, emptied)
        if new is None:
            return None  # without positions, what is newer than its neighbour may not be newer than a truncation
        filled.insert(place, new)
        versions.insert(place, Version(new.standing, new.state, new.gaps, time_of(change)))
    befores = [None, *filled]
    versions = [_anew(*both) for both in zip(versions, filled, befores, strict=False)]
    return Kept(filled[-1], tuple(versions[-FORMER_VERSIONS - 1 :]), kept.number + is_added)


def told(kept: Kept, emptied: Emptied | None, since: int) -> list[Former]:
    """Return what a row was until its changes with an event time of `since` or later, newest change first."""
    rows = rebuilt(kept)
    versions = kept.versions[-len(rows) :]
    if kept.row.state == HELD:
        rows, versions = rows[:-1], versions[:-1]
    floor = emptied.standing.position if emptied is not None else ()
    found: list[Former] = []
    for before, after, version in zip(rows, rows[1:], versions[1:], strict=False):
        if emptied is not None and not supersedes(before.standing, emptied.standing):
            continue
        if version.event_time is not None and version.event_time >= since:
            former = _told(before, after, version.event_time, floor)
            found += [] if former is None else [former]
    return found[::-1]


def told_of(
    kept: Mapping[RowId, Kept], table: str, emptied: Mapping[str, bytes], since: int
) -> dict[RowId, list[Former]]:
    """Do as `RowReader.former`, given what is kept of the rows and the facts of kind EMPTIED."""
    found: dict[RowId, list[Former]] = {}
    floors: dict[str, Emptied | None] = {}
    for id_, one in kept.items():
        source = id_[0]
        if source not in floors:
            fact = emptied.get(f"{table}/{source}")
            floors[source] = None if fact is None else msgspec.json.decode(fact, type=Emptied)
        if former := told(one, floors[source], since):
            found[id_] = former
    return found


def _told(before: StoredRow, after: StoredRow, time: int, floor: Position) -> Former | None:
    was, now, position = image_of(before), image_of(after), after.standing.position
    if before.state != LIVE or after.state != LIVE:
        if LIVE not in {before.state, after.state}:
            return None
        values = {column: value for column, value in was.items() if not _is_unknown(column, before, floor)}
        return Former(position, time, values, deleted=True)
    columns = {
        column: was.get(column)
        for column in {**was, **now}
        if column not in after.gaps
        and not _same(was.get(column), now.get(column))
        and not _is_unknown(column, before, floor)
    }
    return Former(position, time, columns) if columns else None


def _is_unknown(column: str, row: StoredRow, floor: Position) -> bool:
    if column not in row.gaps:
        return False
    position = row.gaps[column]
    return position is None or position < floor or row.image is None or column not in row.image


def _before(image: Row, version: Version, after: Version) -> Row:
    """Return the image after `version`, of which the next one, with `image`, is `after`."""
    if version.state != LIVE:
        return {}
    if after.state != LIVE:
        return after.was or {}
    before = {column: value for column, value in image.items() if column not in after.lacked}
    before.update(after.was or {})
    return before


def _anew(version: Version, row: StoredRow, before: StoredRow | None) -> Version:
    was, lacked = (version.was, version.lacked) if before is None else difference(before, row)
    return Version(row.standing, row.state, row.gaps, version.event_time, was, lacked)


def _repeats(change: Change, standing: Standing) -> bool:
    if change.position:
        return change.position == standing.position
    return (change.stream, change.partition, change.offset) == (standing.stream, standing.partition, standing.offset)


_ABSENT = object()


def _same(one: Any, other: Any) -> bool:
    # Python takes True for 1. What is not a number is not even equal to itself.
    if one == other:
        return (one is True or one is False) == (other is True or other is False)
    return bool(one != one and other != other)  # noqa: PLR0124
