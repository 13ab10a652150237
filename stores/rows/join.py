"""What an event makes of a stored row: the one place where rows and events meet.

For events with positions the row is a function of the set of its events, whatever their order and number: each column
says what the newest event says that says anything of it. An update that leaves a column out as unchanged says nothing
of it; any other update says the column's value or that there is none, a delete that there is none.
"""

from __future__ import annotations

import msgspec

from events.changes import Change, Row, Standing, Truncation, merged_position, supersedes
from stores.rows.base import GONE, LIVE, Gaps, Known, StoredRow


class Emptied(msgspec.Struct, frozen=True):
    """The newest truncation of a table at its source, and when that was (ms since epoch)."""

    standing: Standing
    event_time: int


def standing_of(event: Change | Truncation) -> Standing:
    """Return where an event stands among those of its row."""
    return Standing(event.position, event.stream, event.partition, event.offset)


def needs_image(change: Change, known: Known) -> bool:
    """Tell whether `join` will look at the image of a row of which this much is known."""
    return change.after is None or bool(change.unavailable) or bool(known.gaps)


def join(
    row: StoredRow | Known | None, change: Change, applied_at: int, emptied: Emptied | None = None
) -> StoredRow | None:
    """Return the row after `change`, or None if that changes nothing.

    :arg row: The row so far; what is known of it is enough unless `needs_image`.
    :arg applied_at: When the change is taken in (ms since epoch).
    :arg emptied: Newest truncation of the table at the change's source. It has done its work on the rows that were
        there then, so that a change from before it has nothing to add.
    """
    standing = standing_of(change)
    if emptied is not None and not supersedes(standing, emptied.standing):
        return None
    if row is not None:
        if not supersedes(standing, row.standing):
            return fill(row, change, applied_at) if row.gaps and isinstance(row, StoredRow) else None
        if not change.position and row.standing.position:
            position = merged_position(change.position, row.standing.position)
            standing = Standing(position, standing.stream, standing.partition, standing.offset)
    if change.after is None:
        return _deleted(_whole(row), change, standing, applied_at)
    image, gaps = change.after, _NO_GAPS
    if change.unavailable:
        image, gaps = _completed(_whole(row), change, emptied)
    return StoredRow(
        change.source,
        change.key,
        image,
        LIVE,
        standing,
        change.event_time,
        applied_at,
        change.initiator,
        change.transaction,
        gaps,
    )


def fill(row: StoredRow, change: Change, applied_at: int) -> StoredRow | None:
    """Return `row` with what the older event `change` says of columns that no newer one says anything of, or None.

    A deleted row stays what it last was, held back or not.
    """
    if row.state != LIVE or row.image is None:
        return None
    image, gaps = dict(row.image), dict(row.gaps)
    for column, known in row.gaps.items():
        if known is not None and change.position <= known:
            continue
        if column not in change.unavailable:
            _say(image, column, change.after)
            gaps[column] = change.position
    if gaps == row.gaps:
        return None
    return msgspec.structs.replace(row, image=image, gaps=gaps, applied_at=applied_at)


def emptied_gaps(row: StoredRow, emptied: Emptied, applied_at: int) -> StoredRow | None:
    """Return `row`, which outlives the truncation, without values from before it, or None if it has none such."""
    position = emptied.standing.position
    overtaken = [column for column, known in row.gaps.items() if known is None or known < position]
    if not position or not overtaken or row.image is None or row.state != LIVE:
        return None
    image = {column: value for column, value in row.image.items() if column not in overtaken}
    gaps = {**row.gaps, **dict.fromkeys(overtaken, position)}
    return msgspec.structs.replace(row, image=image, gaps=gaps, applied_at=applied_at)


_NO_GAPS: Gaps = {}


def _whole(row: StoredRow | Known | None) -> StoredRow | None:
    if isinstance(row, Known):
        message = "the image of this row was not fetched, though the change needs it"
        raise TypeError(message)
    return row


def _deleted(row: StoredRow | None, change: Change, standing: Standing, applied_at: int) -> StoredRow:
    if row is not None and row.state != LIVE:
        # It went when it was first deleted: only what comes between the two deletes is decided by the second.
        return msgspec.structs.replace(row, standing=standing)
    return StoredRow(
        change.source,
        change.key,
        None if row is None else row.image,
        GONE,
        standing,
        change.event_time,
        applied_at,
        change.initiator,
        change.transaction,
        _NO_GAPS if row is None else row.gaps,
    )


def _completed(row: StoredRow | None, change: Change, emptied: Emptied | None) -> tuple[Row, Gaps]:
    """Return the change's image with what is known of the columns that it says nothing of, and whence."""
    image, gaps = dict(change.after or {}), Gaps()
    for column in change.unavailable:
        if row is None:
            gaps[column] = None if emptied is None else emptied.standing.position
        elif row.state != LIVE:
            gaps[column] = row.standing.position
        else:
            gaps[column] = row.gaps.get(column, row.standing.position)
            if row.image is not None and column in row.image:
                image[column] = row.image[column]
    return image, gaps


def _say(image: Row, column: str, after: Row | None) -> None:
    if after is not None and column in after:
        image[column] = after[column]
    else:
        image.pop(column, None)
