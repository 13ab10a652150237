"""The lake that the settings name, opened for writing or to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from events.clock import Clock
from events.feedback import FeedbackEvent
from stores.lake.intake import LakeIntake
from stores.lake.reader import LakeReader
from stores.lake.rows import DAY, Objective
from stores.lake.table import LakeTable
from stores.lake.working import Conversations
from stores.settings import Settings

_HOUR = 3_600_000


def open_lake(
    settings: Settings,
    clock: Clock,
    objective: Objective,
    barred: Callable[[FeedbackEvent], bool] = lambda event: False,
    awaited: Iterable[tuple[str, str]] | None = None,
) -> LakeIntake:
    """Open the lake and its working state for writing.

    :arg objective: How many milliseconds a source may be behind when a piece of it is shown.
    :arg barred: Tells which events are of persons who have been erased.
    :arg awaited: Streams and partitions that will be read; None: those that were read before.
    :raises StoreError: When another one writes it, or it is not what the settings say.
    """
    lake = settings.lake
    conversations = Conversations(settings.conversations_path, clock)
    try:
        table = LakeTable(settings.lake_dir, lake.retain_hours)
    except BaseException:
        conversations.close()
        raise
    return LakeIntake(
        conversations,
        table,
        objective,
        clock,
        keep=round(lake.keep_days * DAY),
        compact_every=lake.compact_every,
        retain=round(lake.retain_hours * _HOUR),
        barred=barred,
        awaited=awaited,
    )


def open_lake_reader(settings: Settings) -> LakeReader:
    """Return a reader of the lake; nothing is opened yet."""
    return LakeReader(settings.lake_dir)
