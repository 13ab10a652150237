"""Tells which of a person's texts others have as well: a first name, a town, a family's phone.

Such a text is no sign of the person where it is found. A text that names the person alone can only be part of a longer
one of somebody else, as `anna@` is of `joanna@`: then it is a sign wherever it stands without the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import msgspec

from events.changes import Change, Row
from serving.conversations import SpeechReading
from serving.trails import ChangeReading, every, texts_of
from stores.log.base import Log
from stores.profiles.base import ProfileReader
from stores.rows.base import Condition, RowQuery, RowReader
from stores.scan import Needles

_SOME = 20
_MANY = 10_000
_PAGE = 1_000


class Had(msgspec.Struct):
    """What others have.

    :arg shared: Texts.
    :arg within: For a text that names the person alone, the longer words of others of which it is a part.
    """

    shared: set[str] = msgspec.field(default_factory=set)
    within: dict[str, set[str]] = msgspec.field(default_factory=dict)


class Others:
    """What is left in the stores and in the log, all of it somebody else's.

    :arg concerns: Tells of a change whether it is of the person all the same.
    :arg speech: Reads streams of conversations, from which those of the person have been removed.
    :arg profiles: The profiles, of which the person's is gone: fields of them may be joined of two columns, as a name
        is, and then stand in no row as they are.
    """

    def __init__(
        self,
        stores: Iterable[tuple[RowReader, Iterable[str]]],
        log: Log,
        reading: ChangeReading,
        concerns: Callable[[Change], bool],
        *,
        speech: SpeechReading,
        profiles: ProfileReader,
    ) -> None:
        self._speech = speech
        self._stores = [(reader, list(tables)) for reader, tables in stores]
        self._log = log
        self._reading = reading
        self._concerns = concerns
        self._profiles = profiles

    def have(self, texts: Iterable[str], telling: Iterable[str]) -> Had:
        """Return which of `texts` somebody else has.

        :arg telling: Texts that name the person and nobody else.
        """
        texts = set(texts)
        patterns = {text: re.compile(rf"\w*{re.escape(text)}\w*") for text in texts.intersection(telling)}
        had, wanted = Had(), set(texts)
        for row, there in self._rows(wanted, patterns.keys()):
            values = list(texts_of(row))
            for text in there:
                if text in patterns:
                    longer = {word for value in values for word in patterns[text].findall(value)} - {text}
                    had.within.setdefault(text, set()).update(longer)
                elif any(text.casefold() in value.casefold() for value in values):
                    had.shared.add(text)
                    wanted.discard(text)
        return had

    def _rows(self, wanted: set[str], telling: Collection[str]) -> Iterator[tuple[Row, set[str]]]:
        """Yield rows of others in which texts may stand that are still wanted."""
        for reader, tables in self._stores:
            for table in tables:
                columns = {
                    column: None
                    for stored in reader.select(RowQuery(table=table, limit=_SOME))
                    for column, value in (stored.image or {}).items()
                    if isinstance(value, str)
                }
                for text in list(wanted):
                    limit = _MANY if text in telling else _SOME
                    for column in columns:
                        if text in wanted:
                            query = RowQuery(table=table, where=(Condition(column, "~", text),), limit=limit)
                            yield from ((row.image, {text}) for row in reader.select(query) if row.image is not None)
        if wanted:
            yield from self._changes(wanted)
        yield from self._joined(wanted, telling)

    def _joined(self, wanted: set[str], telling: Collection[str]) -> Iterator[tuple[Row, set[str]]]:
        """Yield fields of profiles, for texts that may be joined by a blank."""
        page = self._profiles.persons("", _PAGE)
        while page and (there := {text for text in wanted if " " in text and text not in telling}):
            for profile in page:
                yield {name: field.value for name, field in profile.fields.items()}, there & wanted
            page = self._profiles.persons(page[-1].person, _PAGE)

    def _changes(self, wanted: set[str]) -> Iterator[tuple[Row, set[str]]]:
        needles = Needles(wanted)
        for stream in self._log.streams():
            if not (self._reading.reads(stream) or self._speech.reads(stream)):
                continue
            for record in every(self._log, stream):
                if not wanted:
                    return
                there = set(needles.in_(record.value or b"")) & wanted
                if there and self._speech.reads(stream):
                    yield {"value": _json(record.value)}, there
                elif there:
                    for change in self._reading.changes(record) or ():
                        if not self._concerns(change):
                            yield from ((row, there) for row in (change.after, change.before) if row is not None)


def _json(value: bytes | None) -> Any:
    try:
        return msgspec.json.decode(value or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return (value or b"").decode(errors="replace")
