"""What a question names, by `[[serving.entities]]`: flight numbers, places, days.

Nothing is guessed: what a name, a pattern or a date can mean is found as often as it can be read.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Literal, NamedTuple

from events.errors import HeadraceError
from serving.context.dates import days
from serving.context.gazetteer import MOST_VALUES, Gazetteer, words
from stores.bounded_patterns import bounded
from stores.rows.base import RowReader
from stores.serving_settings import EntitySettings

MOST_FOUND = 50
"""Different values of one entity that a question names at most; further ones are passed over."""

SOONEST, LATEST = 1_000, 30_000
"""Milliseconds after which names are read again: the sooner only if the store has moved on since."""

_REST = 20
"""Names are read during at most one of so many parts of the time."""

logger = logging.getLogger(__name__)

Way = Literal["pattern", "value", "date"]
"""How a name is recognised: by how it is written, as one that a column has, as a day."""

Column = tuple[str, str]
"""A live table and its column."""

OpenReader = Callable[[], RowReader]


class Finding(NamedTuple):
    """Something that a question names.

    :arg entity: Name of the entity.
    :arg value: The value, as its column has it; of a day such as `2026-11-03`.
    :arg begin: Where it stands in the question.
    :arg end: Where that ends, exclusive.
    """

    entity: str
    way: Way
    value: str
    begin: int
    end: int


class Entities:
    """Finds what questions name.

    :arg entities: The entities that are looked for.
    """

    def __init__(self, entities: Iterable[EntitySettings]) -> None:
        self._entities = tuple(entities)
        self._patterns = {
            entity.name: bounded(entity.pattern, ignore_case=True) for entity in self._entities if entity.pattern
        }

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns whose values are names."""
        return tuple(dict.fromkeys((entity.table, entity.column) for entity in self._entities if entity.table))

    def find(self, question: str, names: dict[Column, Gazetteer], now: int) -> list[Finding]:
        """Return what a question names: by entity in the order of the settings, then by place in the question.

        :arg names: The values of `columns`, of those that whoever asks may know of.
        :arg now: The present (ms since epoch): what `tomorrow` is said of.
        """
        said = words(question) if names else []
        found: list[Finding] = []
        for entity in self._entities:
            if entity.pattern:
                these = self._by_pattern(entity, question)
            elif entity.dates:
                these = [Finding(entity.name, "date", *day) for day in days(question, now)]
            elif (entity.table, entity.column) in names:
                these = [
                    Finding(entity.name, "value", name.value, said[name.first].begin, said[name.after - 1].end)
                    for name in names[entity.table, entity.column].find(said)
                ]
            else:
                these = []
            found += _bounded(these)
        return found

    def _by_pattern(self, entity: EntitySettings, question: str) -> list[Finding]:
        pattern, found = self._patterns[entity.name], []
        removed = dict.fromkeys(map(ord, entity.remove))
        for match in pattern.finditer(question):
            group = 1 if pattern.groups and match[1] is not None else 0
            value = match[group].translate(removed).strip()
            if value:
                value = value.upper() if entity.upper else value
                found.append(Finding(entity.name, "pattern", value, *match.span(group)))
        return found


class _Known(NamedTuple):
    """What was read at once, and from when to when (ms since epoch) it is to be read again.

    :arg mark: Up to where the store was then.
    """

    names: dict[Column, Gazetteer]
    values: dict[Column, list[str]]
    cut_short: tuple[Column, ...]
    mark: dict[tuple[str, str], int]
    soonest: int
    latest: int


class Names:
    """The values of columns as gazetteers, read again beside the questions, which go on with those there are.

    A value that has just come into its table is a name some seconds later.

    :arg columns: The columns whose values are names.
    :arg open_reader: Opens a reader of the row store: what reads beside the questions has its own.
    """

    def __init__(self, columns: Iterable[Column], open_reader: OpenReader) -> None:
        self._columns = tuple(columns)
        self._open_reader = open_reader
        self._turn = threading.Lock()
        self._known: _Known | None = None
        self._looked_at = 0
        self._reading: threading.Thread | None = None

    def known(self, tables: RowReader, now: int) -> tuple[dict[Column, Gazetteer], tuple[Column, ...]]:
        """Return the gazetteers, and the columns that have more values than are known.

        The first call reads them and has others wait; later ones have them read anew where that is due.

        :arg tables: The reader of the question.
        :arg now: The present (ms since epoch).
        """
        known = self._known
        if known is None:
            with self._turn:
                known = self._known = self._known or self._read(tables, now, None)
        elif self._columns and self._is_due(known, tables, now):
            self._start(known, now)
        return known.names, known.cut_short

    def wait(self) -> None:
        """Wait until nothing is being read."""
        reading = self._reading
        if reading is not None:
            reading.join()

    def _is_due(self, known: _Known, tables: RowReader, now: int) -> bool:
        if now >= known.latest:
            return True
        if now < max(known.soonest, self._looked_at + SOONEST):
            return False
        self._looked_at = now
        return _mark_of(tables) != known.mark

    def _start(self, known: _Known, now: int) -> None:
        with self._turn:
            if self._known is known and (self._reading is None or not self._reading.is_alive()):
                self._reading = threading.Thread(target=self._read_beside, args=(known, now), name="names", daemon=True)
                self._reading.start()

    def _read_beside(self, known: _Known, now: int) -> None:
        try:
            reader = self._open_reader()
            try:
                self._known = self._read(reader, now, known)
            finally:
                reader.close()
        except HeadraceError as error:  # what is known already stays
            logger.warning("names could not be read anew: %s", error)

    def _read(self, tables: RowReader, now: int, before: _Known | None) -> _Known:
        begin = perf_counter()
        # What comes in meanwhile is read again for nothing, rather than missed.
        mark = _mark_of(tables) if self._columns else {}
        values = {column: tables.values(*column, MOST_VALUES + 1) for column in self._columns}
        names = {
            column: before.names[column]
            if before is not None and found == before.values[column]
            else Gazetteer(found[:MOST_VALUES])
            for column, found in values.items()
        }
        cut_short = tuple(column for column, found in values.items() if len(found) > MOST_VALUES)
        rest = round((perf_counter() - begin) * 1000 * _REST)
        soonest = now + min(max(rest, SOONEST), LATEST)
        return _Known(names, values, cut_short, mark, soonest, now + LATEST)


def _mark_of(tables: RowReader) -> dict[tuple[str, str], int]:
    """Return up to where each partition is in: it grows with each change, and with nothing else."""
    return {(mark.source, mark.partition): mark.offset for mark in tables.applied()}


def _bounded(found: Iterable[Finding]) -> list[Finding]:
    """Return each reading that a store can be asked for once: of more different values than `MOST_FOUND` the first."""
    kept: dict[str, Finding] = {}
    for finding in sorted(found, key=lambda finding: (finding.begin, finding.value)):
        if len(kept) < MOST_FOUND and _writable(finding.value):
            kept.setdefault(finding.value, finding)
    return list(kept.values())


def _writable(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
