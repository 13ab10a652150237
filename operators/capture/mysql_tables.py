"""How rows of one table of MySQL are written: put together once, when the binlog says what the table is like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from events.binlog import BinlogCatalog, BinlogTable
from operators.capture.envelope import NULL, UNAVAILABLE, members, object_template
from operators.capture.mysql_binlog import CUT_OFF, Mapped, Rows
from operators.capture.mysql_json import Convert, converter_of
from operators.capture.mysql_values import Read, encoding_of, reader_of

Values = list[bytes]


class Shape:
    """What all rows of a table share, streamed or read.

    :arg encodings: What texts of columns mean (`source.columns`).
    :arg source: Members of the source block that all events of the server share.
    """

    def __init__(
        self,
        names: tuple[str, str],
        columns: Sequence[str],
        key: Sequence[str],
        encodings: Mapping[str, str],
        source: bytes,
    ) -> None:
        database, table = names
        self.name = f"{database}.{table}"
        self.columns = tuple(columns)
        self.key_columns = tuple(key)
        said: list[tuple[str, object]] = [("db", database), ("table", table)]
        if encodings:
            said.append(("columns", dict(encodings)))
        self.source = b"%b,%b" % (source, members(said))
        self._row = object_template(columns)
        self._members = [object_template([name])[1:-1] for name in columns]
        self._places = [place for place, name in enumerate(columns) if name in set(key)]
        self._key = object_template(columns[place] for place in self._places)
        self._decimals = {place for place in self._places if encodings.get(columns[place]) == "decimal"}

    def row(self, values: Values) -> bytes:
        """Return the row as a JSON object."""
        return self._row % tuple(values)

    def known(self, values: Values) -> bytes:
        """Return the row as a JSON object, without what the server has not sent."""
        if UNAVAILABLE not in values:
            return self.row(values)
        sent = zip(self._members, values, strict=True)
        return b"{%b}" % b",".join(member % value for member, value in sent if value is not UNAVAILABLE)

    def key(self, values: Values) -> bytes | None:
        """Return the key as a JSON object, None if the table has none.

        :raises ValueError: When the server has not sent all of it.
        """
        if not self._places:
            return None
        parts = [values[place] for place in self._places]
        if UNAVAILABLE in parts:
            message = f"a change of {self.name} without its primary key (binlog_row_image is not FULL)"
            raise ValueError(message)
        # Nothing but the key's own text tells a reader of keys that a column is a number.
        if self._decimals:
            parts = [
                part[1:-1] if place in self._decimals else part for place, part in zip(self._places, parts, strict=True)
            ]
        return self._key % tuple(parts)


class Streamed:
    """A table as it is between two changes of its schema, as the binlog describes it.

    :raises ValueError: When it does not say enough, or more than is known here.
    """

    def __init__(self, said: Mapped, catalog: BinlogCatalog, source: bytes) -> None:
        names = (said.database, said.table)
        if not said.named:
            message = f"the columns of {'.'.join(names)} have no names in the binlog (binlog_row_metadata is not FULL)"
            raise ValueError(message)
        types = catalog.types_of(*names)
        self._reads: list[Read] = []
        encodings: dict[str, str] = {}
        for column in said.columns:
            type_ = types.get(column.name, "")
            charset = catalog.charset_of(column.collation) if column.collation else ""
            self._reads.append(reader_of(column, type_, charset))
            if encoding := encoding_of(column, type_):
                encodings[column.name] = encoding
        self.shape = Shape(names, [column.name for column in said.columns], said.key, encodings, source)
        self._whole = (1 << len(said.columns)) - 1

    def images(self, rows: Rows) -> Iterator[tuple[Values | None, Values | None]]:
        """Return each row of an event, as it was before its change and is after it.

        :raises ValueError, IndexError, struct.error: When they do not fit the table.
        """
        if rows.width != len(self._reads):
            message = f"a row of {self.shape.name} with another number of columns"
            raise ValueError(message)
        data, at, end = rows.data, 0, len(rows.data)
        while at < end:
            before: Values | None = None
            after: Values | None = None
            if rows.kind != "insert":
                before, at = self._image(data, at, rows.before)
            if rows.kind != "delete":
                after, at = self._image(data, at, rows.after)
                if before is not None and UNAVAILABLE in after:
                    # What an image that is not full leaves out has not changed.
                    pairs = zip(after, before, strict=True)
                    after = [old if value is UNAVAILABLE else value for value, old in pairs]
            yield before, after
        if at != end:
            raise ValueError(CUT_OFF)

    def _image(self, data: bytes, at: int, sent: int) -> tuple[Values, int]:
        size = sent.bit_count() + 7 >> 3
        nulls, at = int.from_bytes(data[at : at + size], "little"), at + size
        values: Values = []
        append = values.append
        whole = sent == self._whole
        for read in self._reads:
            if not whole:
                here, sent = sent & 1, sent >> 1
                if not here:
                    append(UNAVAILABLE)
                    continue
            if nulls & 1:
                append(NULL)
            else:
                value, at = read(data, at)
                append(value)
            nulls >>= 1
        return values, at


class Selected:
    """A table as its rows are read by SELECT."""

    def __init__(self, table: BinlogTable, source: bytes) -> None:
        self._converts: list[Convert] = [converter_of(column) for column in table.columns]
        encodings = {column.name: column.type for column in table.columns if column.type in ("decimal", "json")}
        names = (table.database, table.table)
        self.shape = Shape(names, [column.name for column in table.columns], table.key, encodings, source)

    def values(self, row: Sequence[Any]) -> Values:
        """Return the JSON of each value.

        :raises ValueError: When the row is not as long as the table is wide.
        """
        pairs = zip(self._converts, row, strict=True)
        return [NULL if value is None else convert(value) for convert, value in pairs]
