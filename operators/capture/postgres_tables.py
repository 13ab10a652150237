"""How rows of one table are written: put together once, when the stream says what the table is like."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from events.capture import Catalog, Column
from operators.capture.envelope import NULL, UNAVAILABLE, Convert, members, object_template
from operators.capture.postgres_values import ENCODINGS, converter_of, decimal

_TEXT, _NULL, _UNCHANGED = b"tnu"
_COUNT = 2
_VALUE = struct.Struct(">BI").unpack_from
_HEAD = 5
_PADDING = b"\0\0\0\0"


class Table:
    """A table as it is between two changes of its schema.

    :arg key: Columns by which its rows are told apart; none if there are none.
    :arg source: Members of the source block that all events of the database share.
    """

    __slots__ = (
        "_converts",
        "_key_decimals",
        "_key_row",
        "_row",
        "commit",
        "count",
        "key_places",
        "keyed",
        "name",
        "source",
    )

    def __init__(
        self,
        names: tuple[str, str],
        columns: Sequence[Column],
        key: Iterable[str],
        source: bytes,
        catalog: Catalog,
    ) -> None:
        schema, table = names
        self.name = f"{schema}.{table}"
        self._converts: list[Convert | None] = [
            converter_of(column.type, column.modifier, catalog) for column in columns
        ]
        said = {
            column.name: ENCODINGS[convert]
            for column, convert in zip(columns, self._converts, strict=True)
            if convert in ENCODINGS
        }
        named = [("schema", schema), ("table", table), *([("columns", said)] if said else [])]
        self.source = b"%b,%b" % (source, members(named))
        self._row = object_template(column.name for column in columns)
        # In the table's order, whoever said the key: one row, one text.
        wanted = frozenset(key)
        places = [place for place, column in enumerate(columns) if column.name in wanted]
        self.key_places = places if len(places) == len(wanted) else []
        self._key_row = object_template(columns[place].name for place in self.key_places)
        self.keyed = bool(self.key_places)
        self._key_decimals = any(self._converts[place] is decimal for place in self.key_places)
        self.commit = -1
        self.count = 0
        """Changes of it in the transaction of that commit."""

    def values(self, payload: bytes, at: int) -> tuple[list[bytes], int]:
        """Return the JSON of each value of the tuple that begins at `at`, and where it ends.

        :raises ValueError: When there is no such tuple.
        """
        count, at = int.from_bytes(payload[at : at + _COUNT], "big"), at + _COUNT
        if count != len(self._converts):
            message = f"a row of {self.name} with another number of columns"
            raise ValueError(message)
        # Behind its end there are zeros, so that a kind and a length can be read at once wherever there is a kind.
        padded = payload + _PADDING
        values: list[bytes] = []
        append = values.append
        for convert in self._converts:
            kind, length = _VALUE(padded, at)
            if kind == _TEXT:
                begin = at + _HEAD
                at = begin + length
                raw = payload[begin:at]
                append(raw if convert is None else convert(raw))
            elif kind == _NULL:
                append(NULL)
                at += 1
            elif kind == _UNCHANGED:
                append(UNAVAILABLE)
                at += 1
            else:
                message = f"a value of {self.name} in the form {chr(kind)!r}"
                raise ValueError(message)
        return values, at

    def converted(self, texts: Sequence[str | None]) -> list[bytes]:
        """Return the JSON of each value of a row that was read as texts.

        :raises ValueError: When it is not as long as the table is wide.
        """
        return [
            NULL if value is None else _converted(convert, value)
            for convert, value in zip(self._converts, texts, strict=True)
        ]

    def row(self, values: Sequence[bytes]) -> bytes:
        """Return the row as a JSON object."""
        return self._row % tuple(values)

    def key(self, values: Sequence[bytes]) -> bytes | None:
        """Return the key as a JSON object, None if the table has none."""
        if not self.keyed:
            return None
        parts = [values[place] for place in self.key_places]
        if self._key_decimals:
            # Nothing but the key's own text tells a reader of keys that a column is a number.
            parts = [_number(self._converts[place], values[place]) for place in self.key_places]
        return self._key_row % tuple(parts)


def _converted(convert: Convert | None, value: str) -> bytes:
    raw = value.encode(errors="surrogateescape")
    return raw if convert is None else convert(raw)


def _number(convert: Convert | None, value: bytes) -> bytes:
    digits = value[1:-1]
    return digits if convert is decimal and digits[-1:].isdigit() else value
