"""Events that carry their Kafka Connect schema: told from those that do not, and read as the schema says.

A schema is compiled once and known again by its bytes. An event that begins as one before did, up to its payload, has
the same schema: only what follows is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from events.changes import Row
from events.errors import RejectedError
from operators.changes.duplicate_keys import read_json
from operators.changes.values import Read, decimal_of_base64, encoding

S = TypeVar("S")

MAX_SCHEMAS = 256
MAX_SCHEMA_BYTES = 32 * 2**20
"""Bounds of what is remembered of a stream's schemas; beyond them it begins anew."""

BEGIN = b'{"schema":'
"""How an event in a wrapping begins, as the converters of Kafka Connect write it."""

_PAYLOAD = b'"payload":'
_REMEDY = "let the connector write the schema, or set `schemas.enable` of its converters to false"
_LEAVE = "leave the source block as the connector writes it"

NO_READS: dict[str, Read] = {}


class Shape:
    """How the columns of a struct are read.

    :arg reads: For each column whose value in the event is not that of a row, how it is read.
    :arg decimals: Columns that are decimal numbers: where they are written as JSON numbers, each digit counts.
    """

    __slots__ = ("decimals", "reads")

    def __init__(self, reads: dict[str, Read], decimals: frozenset[str]) -> None:
        self.reads = reads
        self.decimals = decimals


NO_SHAPE = Shape(NO_READS, frozenset())


class Images:
    """How the rows before and after a change are read."""

    __slots__ = ("after", "before")

    def __init__(self, before: Shape, after: Shape) -> None:
        self.before = before
        self.after = after


NO_IMAGES = Images(NO_SHAPE, NO_SHAPE)


class Opener(Generic[S]):
    """Takes events out of the wrapping that holds their schema, if they are in one.

    :arg compile_schema: Makes of a schema what reading the payload needs.
    :arg none: What stands for no schema.
    :arg is_bare: Tells an event without schema from a wrapping by its decoded form.
    """

    def __init__(
        self, compile_schema: Callable[[Mapping[str, Any]], S], none: S, is_bare: Callable[[Row], bool]
    ) -> None:
        self._compile = compile_schema
        self._none = none
        self._is_bare = is_bare
        self._last: tuple[bytes, S] = (b"\0", none)
        self._known: dict[bytes, S] = {}
        self._bytes = 0

    def open(self, raw: bytes) -> tuple[Any, S]:
        """Return the event's payload, and how to read it.

        :raises RejectedError: When it is not strict JSON, or its schema is none.
        """
        if not raw.startswith(BEGIN):
            return self._unwrap(raw, read_json(raw))
        begin, made = self._last
        if not raw.endswith(b"}"):
            # What was cut off is not to pass for an event whose payload ends early.
            return self._unwrap(raw, read_json(raw))
        if not raw.startswith(begin):
            begin = raw[: raw.find(_PAYLOAD) + len(_PAYLOAD)]
            known = self._known.get(begin)
            if known is None:
                return self._unwrap(raw, read_json(raw))
            self._last, made = (begin, known), known
        try:
            return read_json(raw[len(begin) : -1]), made
        except RejectedError:
            # More follows the payload, or the payload is what is wrong.
            return self._unwrap(raw, read_json(raw))

    def _unwrap(self, raw: bytes, event: Any) -> tuple[Any, S]:
        if type(event) is not dict or "payload" not in event or self._is_bare(event):
            return event, self._none
        schema = event.get("schema")
        # Documentation and hand-made events have an empty schema in the place of one.
        made = self._none if not schema else self._compile(_object(schema))
        self._learn(raw, made)
        return event["payload"], made

    def _learn(self, raw: bytes, made: S) -> None:
        """Remember how `raw` begins, if it is a schema and a payload and nothing else."""
        payload = bytes(msgspec.json.decode(raw, type=_Wrapping).payload)
        begin = raw[: -len(payload) - 1]
        if not (raw.endswith(payload + b"}") and begin.startswith(BEGIN) and begin.endswith(_PAYLOAD)):
            return
        self._bytes -= len(begin) if begin in self._known else 0
        if len(self._known) >= MAX_SCHEMAS or self._bytes + len(begin) > MAX_SCHEMA_BYTES:
            self._known.clear()
            self._bytes = 0
        self._known[begin] = made
        self._bytes += len(begin)
        self._last = (begin, made)


class _Wrapping(msgspec.Struct):
    payload: msgspec.Raw


def image_shapes(schema: Mapping[str, Any]) -> Images:
    """Compile the schema of an envelope.

    :raises RejectedError: When it is no schema.
    """
    fields = {field.get("field"): field for field in _fields(schema)}
    before, after = fields.get("before"), fields.get("after")
    return Images(NO_SHAPE if before is None else row_shape(before), NO_SHAPE if after is None else row_shape(after))


def said_images(columns: Any) -> Images:
    """Compile what the source of an event without a schema says of columns: encodings by their names.

    :raises RejectedError: When it is no such object, or there is no such encoding.
    """
    if type(columns) is not dict:
        message = "the source's `columns` are no object"
        raise RejectedError(message, _LEAVE)
    try:
        reads = {column: encoding(str(name)) for column, name in columns.items()}
    except ValueError as error:
        message = f"the source's `columns`: {error}"
        raise RejectedError(message, _LEAVE) from None
    shape = Shape(reads, frozenset(column for column, name in columns.items() if name == "decimal"))
    return Images(shape, shape)


def row_shape(schema: Mapping[str, Any]) -> Shape:
    """Compile the schema of a row or a key; that of anything but a struct says nothing.

    :raises RejectedError: When it is no schema.
    """
    if schema.get("type") != "struct":
        return NO_SHAPE
    reads: dict[str, Read] = {}
    decimals = set()
    for field in _fields(schema):
        name = field.get("field")
        read = reader(field)
        if read is None or type(name) is not str:
            continue
        reads[name] = read
        if field.get("name") == _DECIMAL:
            decimals.add(name)
    return Shape(reads, frozenset(decimals))


_DECIMAL = "org.apache.kafka.connect.data.Decimal"

_ENCODINGS = {
    "org.apache.kafka.connect.data.Date": "date-days",
    "org.apache.kafka.connect.data.Time": "time-millis",
    "org.apache.kafka.connect.data.Timestamp": "timestamp-millis",
    "io.debezium.time.Date": "date-days",
    "io.debezium.time.Time": "time-millis",
    "io.debezium.time.MicroTime": "time-micros",
    "io.debezium.time.NanoTime": "time-nanos",
    "io.debezium.time.Timestamp": "timestamp-millis",
    "io.debezium.time.MicroTimestamp": "timestamp-micros",
    "io.debezium.time.NanoTimestamp": "timestamp-nanos",
    "io.debezium.time.ZonedTimestamp": "zoned-timestamp",
    "io.debezium.time.ZonedTime": "zoned-time",
    "io.debezium.time.IsoDate": "iso-date",
    "io.debezium.time.IsoTime": "iso-time",
    "io.debezium.time.IsoTimestamp": "iso-timestamp",
    "io.debezium.time.MicroDuration": "micro-duration",
    "io.debezium.time.NanoDuration": "nano-duration",
    "io.debezium.data.VariableScaleDecimal": "decimal-variable",
    "io.debezium.data.Json": "json",
    "io.debezium.data.Uuid": "uuid",
}
"""Semantic types that need reading. Texts (Xml, Enum, EnumSet, Ltree, TsVector, Interval), whole numbers (Year) and
bytes (Bits) are read by their type; vectors and geometries are lists and structs of such."""


def is_bare_row(event: Row) -> bool:
    """Tell a row, or a key, from a wrapping of one: a table may have columns of these names."""
    schema = event.get("schema")
    return len(event) != len(("schema", "payload")) or not (
        schema is None or (type(schema) is dict and "type" in schema)
    )


def reader(schema: Mapping[str, Any]) -> Read | None:
    """Return how values of a schema are read; None if they already are those of a row.

    :raises RejectedError: When it is no schema.
    """
    name = schema.get("name")
    if name == _DECIMAL:
        return partial(decimal_of_base64, _scale(schema))
    known = _ENCODINGS.get(name) if type(name) is str else None
    if known is not None:
        return encoding(known)
    made: Read | None = None
    match schema.get("type"):
        case "bytes":
            made = encoding("bytes-base64")
        case "struct":
            reads = row_shape(schema).reads
            made = partial(_read_struct, reads) if reads else None
        case "array":
            element = reader(_object(schema.get("items")))
            made = element and partial(_read_list, element)
        case "map":
            key, member = reader(_object(schema.get("keys"))), reader(_object(schema.get("values")))
            made = partial(_read_map, key, member) if key or member else None
    return made


def _read_struct(reads: dict[str, Read], value: Any) -> Any:
    if type(value) is not dict:
        message = "it is no object"
        raise ValueError(message)
    return {name: _read(reads.get(name), member) for name, member in value.items()}


def _read_list(element: Read, value: Any) -> Any:
    if type(value) is not list:
        message = "it is no list"
        raise ValueError(message)
    return [_read(element, member) for member in value]


def _read_map(key: Read | None, member: Read | None, value: Any) -> Any:
    if type(value) is dict:
        return {_read(key, name): _read(member, held) for name, held in value.items()}
    # A map whose keys are no texts is written as a list of pairs.
    if type(value) is list and all(type(pair) is list and len(pair) == 2 for pair in value):  # noqa: PLR2004  # a pair
        return [[_read(key, pair[0]), _read(member, pair[1])] for pair in value]
    message = "it is no map"
    raise ValueError(message)


def _read(read: Read | None, value: Any) -> Any:
    return value if read is None or value is None else read(value)


def _scale(schema: Mapping[str, Any]) -> int:
    parameters = schema.get("parameters")
    scale = parameters.get("scale") if type(parameters) is dict else None
    try:
        return int(scale)  # type: ignore[arg-type]  # what is no number is what the error is for
    except (TypeError, ValueError):
        message = f"the schema's decimal {schema.get('field')!r} has no scale"
        raise RejectedError(message, _REMEDY) from None


def _fields(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    fields = schema.get("fields", [])
    if type(fields) is not list:
        message = "the schema's fields are no list"
        raise RejectedError(message, _REMEDY)
    return [_object(field) for field in fields]


def _object(schema: Any) -> dict[str, Any]:
    if type(schema) is not dict:
        message = "the event's schema is not one of Kafka Connect"
        raise RejectedError(message, _REMEDY)
    return schema
