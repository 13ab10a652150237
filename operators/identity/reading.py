"""Reading the identifiers of one rule from a row: parts are normalised and put together, lists value by value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, product
from math import prod

import msgspec

from events.changes import Row
from operators.identity.normalise import Normalise
from operators.identity.placeholders import is_word
from operators.identity.rules import Columns, TypeRules
from operators.identity.texts import BLOCKED, EMPTY, PLACEHOLDER, Normalised, Refusal, text_of

MAX_VALUES = 100
"""A list of more values than this, or parts that can be put together in more ways, carry nothing."""
SEPARATOR = "|"
"""Stands between the parts of an identifier; no part holds it."""

_TOO_MANY = Refusal(f"more than {MAX_VALUES} values")
_SHOWN = 200


class Refused(msgspec.Struct, frozen=True):
    """A value that is no identifier.

    :arg text: The value as the row has it, shortened.
    :arg reason: Why, in a few words.
    """

    type: str
    columns: Columns
    text: str
    reason: str


class Part:
    """One part of an identifier: where it stands and how it is normalised."""

    def __init__(self, columns: Columns, normalise: Normalise) -> None:
        self.columns = columns
        self._column = columns[0] if len(columns) == 1 else ""
        self._normalise = normalise

    def read(self, row: Row) -> list[tuple[object, Normalised]]:
        """Return each value as the row has it, and normalised."""
        if len(self.columns) > 1:
            return [self._joined(row)]
        value = row.get(self._column)
        if not isinstance(value, list):
            return [(value, self._normalise(value))]
        if len(value) > MAX_VALUES:
            return [(value, _TOO_MANY)]
        return [(one, self._normalise(one)) for one in value] or [(None, EMPTY)]

    def _joined(self, row: Row) -> tuple[object, Normalised]:
        """Join columns that make one value; those without one, or with a word for none, are left out."""
        texts = [text_of(row.get(column)) for column in self.columns]
        written = " ".join(text for text in texts if isinstance(text, str))
        for text in texts:
            if isinstance(text, Refusal) and text is not EMPTY:
                return written, text
        said = [text for text in texts if isinstance(text, str) and not is_word(text)]
        if not said:
            return written, PLACEHOLDER if written else EMPTY
        return written, self._normalise(" ".join(said))


class Reader:
    """One rule of a table.

    :arg parts: As many as the type has.
    :arg blocked: Identifiers that are none.
    """

    def __init__(self, type_: TypeRules, parts: tuple[Part, ...], blocked: frozenset[str]) -> None:
        self.parts = parts
        self.columns = frozenset(chain.from_iterable(part.columns for part in parts))
        self._type = type_
        self._blocked = blocked

    def read(self, row: Row, refused: list[Refused] | None = None) -> tuple[str, ...]:
        """Return the distinct identifiers of `row`, sorted; put into `refused` what is none."""
        read = [part.read(row) for part in self.parts]
        texts = [[made for _, made in values if isinstance(made, str)] for values in read]
        if refused is not None:
            refused.extend(self._refused(read))
        if refused is None and len(texts) == 1 and len(texts[0]) == 1:
            identifier = joined(self._type, texts[0])
            return () if identifier in self._blocked else (identifier,)
        crowded = prod(map(len, texts)) > MAX_VALUES
        identifiers = set() if crowded else {joined(self._type, made) for made in product(*texts)}
        blocked = identifiers & self._blocked
        if refused is not None:
            columns = tuple(chain.from_iterable(part.columns for part in self.parts))
            refused.extend([Refused(self._type.type, columns, "", _TOO_MANY.reason)] if crowded else [])
            refused.extend(
                Refused(self._type.type, columns, identifier.partition(":")[2], BLOCKED.reason)
                for identifier in sorted(blocked)
            )
        return tuple(sorted(identifiers - blocked))

    def _refused(self, read: list[list[tuple[object, Normalised]]]) -> list[Refused]:
        # Of an identifier of which there is nothing at all, nothing is missing.
        begun = any(made is not EMPTY for values in read for _, made in values)
        several = len(read) > 1
        return [
            Refused(self._type.type, part.columns, _shown(value), made.reason)
            for part, values in zip(self.parts, read, strict=True)
            for value, made in values
            if isinstance(made, Refusal) and (made is not EMPTY or (begun and several))
        ]


def joined(type_: TypeRules, made: Sequence[str]) -> str:
    """Return the identifier that parts make together."""
    return f"{type_.type}:{SEPARATOR.join(made)}"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value[:_SHOWN]
    text = text_of(value)
    return text[:_SHOWN] if isinstance(text, str) else "" if value is None else f"({type(value).__name__})"
