"""What rows were before: kept as what each change has changed, told as a function of the set of a row's events.

A row's history is text, newest change first: its own, and as many before as are kept. They stand in
the order of their positions, whatever order they came in: a late one is put between its neighbours, and the version
after it is compared with it. What is older than all that is kept changes nothing, unless nothing has been forgotten.

What is told:

- A change tells the columns whose values before and after it are both known and differ. One that says nothing of a
  column has not changed it. Null and not there are the same.
- A text of more than `MOST_OF_A_VALUE` characters is not kept, and not told: prompts have no room for it.
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
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

from events.changes import Change, Position, Row, Standing, supersedes
from stores.rows.base import HELD, LIVE, Former, Gaps, Kept, RowId, StoredRow
from stores.rows.join import Emptied, fill, join, standing_of
from stores.rows.sqlite_image import finite, real

MOST_CHANGES, MOST_CHARACTERS, MOST_OF_A_VALUE = 8, 600, 100
"""Changes kept of a row; characters of all of them, the last of which may go beyond; characters of a text in them."""


class Version(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """The change by which a row became what it then was.

    :arg event_time: When it happened (ms since epoch); None where that is not known.
    :arg was: Columns that are different after it, as they were before. Of a delete, the whole row before. None where
        nothing is known of what was before.
    :arg lacked: Columns that are there after it, and were not before.
    :arg omitted: Columns that had a text before it that is too long to be kept.
    :arg gaps: Columns that it did not bring, as of a row.
    :arg is_first: Whether there was no row before.
    :arg place: Stream, partition and offset, where there is no position.

    As text it comes behind the row's state after it, which may change when deletes are held back.
    """

    position: Position
    event_time: int | None
    was: Row | None = None
    lacked: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()
    gaps: Gaps = {}
    is_first: bool = False
    place: tuple[str, int, int] | None = None

    @property
    def standing(self) -> Standing:
        """Where the change stands among those of its row; where it has a position, that says it all."""
        return Standing(self.position, *(self.place or ("", 0, 0)))


def extended(history: str, old: StoredRow | None, new: StoredRow, change: Change) -> str:
    """Return the history of `new`, which `change` has made of `old`, whose history is given."""
    if old is None:
        return _written(new, _version(new, change, None, is_first=True))
    if change.position and change.position == old.standing.position:
        return history
    own = _written(new, _version(new, change, old))
    if not history:
        history = _written(old, Version(old.standing.position, None, gaps=old.gaps, place=_place(old.standing)))
    elif history[0] != _STATES[old.state]:
        history = _STATES[old.state] + history[1:]
    return _kept_of(f"{own}\n{history}")


_STATES = "012"
_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(Version, float_hook=real).decode


def _kept_of(history: str) -> str:
    """Return as much of a history as is kept: changes, newest first, and the version before all of these.

    More changes in between make it longer, never shorter: so what is kept follows from the set of all changes.
    """
    # JSON has no line breaks of its own.
    end = history.find("\n", MOST_CHARACTERS)
    if end >= 0:
        history = history[:end]
    if history.count("\n") > MOST_CHANGES:
        return "\n".join(history.split("\n", MOST_CHANGES + 1)[: MOST_CHANGES + 1])
    return history


def _written(row: StoredRow, version: Version) -> str:
    text = _encode(version).decode()
    if "NaN" in text or "Infinity" in text:
        text = _encode(msgspec.structs.replace(version, was=finite(version.was))).decode()
    return _STATES[row.state] + text


def _version(row: StoredRow, change: Change, before: StoredRow | None, *, is_first: bool = False) -> Version:
    # A snapshot says what is there, not since when.
    time = None if change.op == "read" else change.event_time
    was, lacked, omitted = _difference(before, row)
    place = None if row.standing.position else _place(row.standing)
    return Version(row.standing.position, time, was, lacked, omitted, row.gaps, is_first, place)


def _place(standing: Standing) -> tuple[str, int, int] | None:
    return None if standing.position else (standing.stream, standing.partition, standing.offset)


_ABSENT, _OMITTED = object(), object()
_GONE: Row = {}
_PLAIN = frozenset({str, int, bool, type(None)})


def _difference(old: StoredRow | None, new: StoredRow) -> tuple[Row | None, tuple[str, ...], tuple[str, ...]]:
    """Return `was`, `lacked` and `omitted` of the change that has made `new` of `old`; None: of what is not known."""
    if old is None:
        return None, (), ()
    before, after = image_of(old), image_of(new)
    # Whoever goes back sees which of the two was gone, and so without columns: of a delete all columns have changed.
    both = old.state == LIVE and new.state == LIVE
    now = after.get if both else _GONE.get
    was: Row = {}
    lacked: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()
    # One loop with few calls in it: this is most of what it costs to keep a change.
    for column, value in before.items():
        other = now(column, _ABSENT)
        if other != value and (value.__class__ in _PLAIN or not _same(other, value)):
            if value is _OMITTED or (value.__class__ is str and len(value) > MOST_OF_A_VALUE):
                omitted += (column,)
            else:
                was[column] = value
    if both and before.keys() != after.keys():
        lacked = tuple(column for column in after if column not in before)
    return was, lacked, omitted


def image_of(row: StoredRow) -> Row:
    """Return the columns of a row; of one that is gone, or was as far as its source says, none."""
    return row.image if row.state == LIVE and row.image is not None else {}


def rebuilt(kept: Kept) -> list[tuple[StoredRow, Version]]:
    """Return what a row was after each of its changes, and these, oldest first. What was deleted has no image."""
    lines = kept.history.split("\n") if kept.history else []
    states = [int(line[0]) for line in lines]
    versions = [_decode(line[1:]) for line in lines]
    row, image = kept.row, image_of(kept.row)
    found: list[tuple[StoredRow, Version]] = []
    for place, version in enumerate(versions):
        if place:
            image = _before(image, states[place], versions[place - 1], row.state)
            row = msgspec.structs.replace(
                row,
                image=image if states[place] == LIVE else None,
                state=states[place],
                standing=version.standing,
                gaps=version.gaps,
            )
        found.append((row, version))
    return found[::-1]


def inserted(kept: Kept, change: Change, now: int, emptied: Emptied | None) -> Kept:
    """Return a row and its history with a change that came after a newer one: the same if it changes nothing.

    :arg now: When it is taken in (ms since epoch).
    :arg emptied: As for `join`.
    """
    standing = standing_of(change)
    if emptied is not None and not supersedes(standing, emptied.standing):
        return kept
    if change.position and _mentions(kept.history, change.position):
        return kept
    if not kept.history:
        return msgspec.structs.replace(kept, row=fill(kept.row, change, now) or kept.row)
    versions = rebuilt(kept)
    count = len(versions)
    place = next((at for at in range(count, 0, -1) if supersedes(standing, versions[at - 1][0].standing)), 0)
    is_known = any(_repeats(change, row.standing) for row, _ in versions[max(place - 1, 0) : place + 1])
    is_whole = versions[0][1].is_first
    filled = [(row if at < place else fill(row, change, now) or row, one) for at, (row, one) in enumerate(versions)]
    if not is_known and (place or is_whole):
        new = join(filled[place - 1][0] if place else None, change, now, emptied)
        if new is not None:
            filled.insert(place, (new, _version(new, change, None, is_first=not place)))
    elif all(row is before for (row, _), (before, _) in zip(filled, versions, strict=True)):
        return kept
    lines = [_anew(*filled[at], filled[at - 1][0] if at else None) for at in range(len(filled))]
    return Kept(filled[-1][0], _kept_of("\n".join(lines[::-1])))


def told(kept: Kept, emptied: Emptied | None, since: int) -> list[Former]:
    """Return what a row was until its changes with an event time of `since` or later, newest change first."""
    versions = rebuilt(kept)
    if kept.row.state == HELD:
        versions.pop()
    floor = emptied.standing.position if emptied is not None else ()
    found: list[Former] = []
    for (before, _), (after, version) in pairwise(versions):
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
    value = image_of(row).get(column)
    if value is _OMITTED or (isinstance(value, str) and len(value) > MOST_OF_A_VALUE):
        return True
    if column not in row.gaps:
        return False
    position = row.gaps[column]
    return position is None or position < floor or row.image is None or column not in row.image


def _same(one: Any, other: Any) -> bool:
    # A number that has been stored may come back as a Decimal, which is never equal to a float such as 0.1.
    return bool(one == other or _exact(one) == _exact(other))


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _exact(part) for name, part in value.items()}
    return [_exact(part) for part in value] if isinstance(value, list | tuple) else value


def _before(image: Row, state: int, after: Version, state_after: int) -> Row:
    """Return the image in `state`, of which `after` has made `image`."""
    if state != LIVE:
        return {}
    if state_after != LIVE:
        return {**(after.was or {}), **dict.fromkeys(after.omitted, _OMITTED)}
    before = {column: value for column, value in image.items() if column not in after.lacked}
    before.update(after.was or {})
    before.update(dict.fromkeys(after.omitted, _OMITTED))
    return before


def _anew(row: StoredRow, version: Version, before: StoredRow | None) -> str:
    was, lacked, omitted = _difference(before, row)
    anew = Version(
        version.position,
        version.event_time,
        was,
        lacked,
        omitted,
        row.gaps,
        version.is_first and before is None,
        version.place,
    )
    return _written(row, anew)


def _mentions(history: str, position: Position) -> bool:
    begin = f"[{_encode(position).decode()},"
    return any(history.startswith(state + begin) or f"\n{state}{begin}" in history for state in _STATES)


def _repeats(change: Change, standing: Standing) -> bool:
    if change.position:
        return change.position == standing.position
    return (change.stream, change.partition, change.offset) == (standing.stream, standing.partition, standing.offset)
