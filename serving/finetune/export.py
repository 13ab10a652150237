"""An export for fine-tuning as far as it is not written: opens the lake and the profiles, and builds its lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from events.errors import HeadraceError
from operators.feedback.configure import objectives
from serving.finetune.build import Built, Span, build
from serving.finetune.known import KnownPersons
from serving.finetune.lines import Form
from serving.finetune.selection import REASONS
from stores.export_settings import ExportSettings
from stores.lake.choose import open_lake_reader
from stores.lake.reader import LakeReader
from stores.settings import Settings

_TRIES = 50
_LISTED = 4
_HINTS = {
    "time": "widen --since and --until",
    "consent_unknown": "--assume-consent takes them; see that you may",
    "unrated": "--unrated takes them",
    "rating": "lower --min-rating",
    "context_stale": "--any-context takes them",
    "context_unknown": "--unknown-context takes them",
    "application": "name other applications",
    "language": "name other languages",
    "topic": "name other topics",
    "too_long": "raise export.most_characters",
    "unpaired": "--format chat needs no pairs",
}


def prepare(
    settings: Settings,
    rules: ExportSettings,
    forms: Sequence[Form],
    span: Span = Span(),  # noqa: B008  # immutable
    progress: Callable[[int], object] = lambda conversations: None,
) -> tuple[int, Built]:
    """Return what an export of the lake is, and of which version of the lake.

    :raises HeadraceError: When there is no lake, or nothing of it is left.
    """
    reader = open_lake_reader(settings)
    if not reader.count():
        detail = f"there is no conversation in the lake {settings.lake_dir}"
        raise HeadraceError(detail, "`headrace run lake` fills it from the streams of [[feedback.streams]]")
    version, rows = snapshot(reader)
    built = build(
        rows,
        rules,
        forms,
        known=known_persons(settings, rules),
        objective=objectives(settings.feedback).of,
        region=region_of(settings, rules),
        span=span,
        progress=progress,
    )
    if not any(built.lines.values()):
        raise nothing_left(built)
    return version, built


def snapshot(reader: LakeReader) -> tuple[int, Iterator[Mapping[str, Any]]]:
    """Return the version of the lake and all conversations of that version.

    :raises HeadraceError: When it is written to faster than it can be opened.
    """
    for _ in range(_TRIES):
        version = reader.size().version
        batches = reader.rows()
        # The first batch opens the commit that all others are of.
        first = next(batches, None)
        if reader.size().version == version:
            return version, _rows(first, batches)
    detail = "the lake is written to faster than it can be opened"
    raise HeadraceError(detail, "stop `headrace run lake` for the export")


def region_of(settings: Settings, rules: ExportSettings) -> str:
    """Return the country of telephone numbers without one; empty if there is none."""
    return rules.region or settings.profiles.region.strip().upper()


def known_persons(settings: Settings, rules: ExportSettings) -> KnownPersons:
    """Return what is known of persons, from the profile store if the settings name tables of persons."""
    reader = None
    if settings.profiles.tables:
        from stores.profiles.choose import open_profile_reader

        reader = open_profile_reader(settings)
    profiles = settings.profiles
    return KnownPersons(reader, profiles.realms, (one.type for one in profiles.identifiers), rules.fields)


def nothing_left(built: Built) -> HeadraceError:
    """Return the error for an export without a line: which filter dropped how many."""
    total: Counter[str] = Counter()
    for dropped in built.dropped.values():
        # The same answer may be dropped from two forms.
        for reason, count in dropped.items():
            total[reason] = max(total[reason], count)
    most = [(reason, count) for reason, count in total.most_common(_LISTED) if count]
    said = "; ".join(f"{count:,} {REASONS[reason].partition(' (')[0]}" for reason, count in most)
    hints = [_HINTS[reason] for reason, _ in most if reason in _HINTS]
    answers = f"{built.answers:,} answer{'' if built.answers == 1 else 's'}"
    detail = f"nothing is left of {answers} in the lake: {said or 'there are none'}"
    return HeadraceError(detail, hints[0] if hints else "")


def _rows(first: Any, batches: Iterator[Any]) -> Iterator[Mapping[str, Any]]:
    if first is not None:
        yield from first.to_pylist()
    for batch in batches:
        yield from batch.to_pylist()
