"""A record of the log as a message of Kafka, and back: ours come back as they were, those of others do no harm.

Kafka's header values are bytes, may be absent and may come twice; ours are text, each once. A time before 1970, which
a message cannot have, travels in a header, and so does its first moment, which librdkafka takes for "now".
"""

from __future__ import annotations

from collections.abc import Iterable

from events.errors import RejectedError, StoreError
from events.log import LogRecord
from stores.log.kafka.client import Outgoing
from stores.sections import checked_name

EVENT_TIME = "headrace-event-time"
"""Header with the event time (ms since epoch), where a message cannot have it as its timestamp."""

_INT64 = 2**63


def topic_of(prefix: str, stream: str) -> str:
    """Return the topic of a stream.

    :raises StoreError: When there can be no stream of that name.
    """
    try:
        return prefix + checked_name(stream)
    except ValueError as error:
        detail = f"there can be no stream of that name: {error}"
        raise StoreError(detail) from None


def stream_of(prefix: str, topic: str) -> str | None:
    """Return the stream of a topic, None if it is not one of ours."""
    if not topic.startswith(prefix):
        return None
    try:
        return checked_name(topic[len(prefix) :])
    except ValueError:
        return None


def to_message(record: LogRecord, partition: int) -> Outgoing:
    """Return `record` as a message for `partition`.

    :raises RejectedError: When its time or a header cannot be written.
    """
    time = record.event_time
    if not -_INT64 < time < _INT64:
        detail = f"the event time {time} does not fit into 64 bits"
        raise RejectedError(detail, "event times are milliseconds since 1970-01-01 UTC")
    headers = record.headers
    if time <= 0:
        headers = {**headers, EVENT_TIME: str(time)}
        time = 0
    if not headers:
        return Outgoing(partition, record.key, record.value, time, ())
    try:
        encoded = tuple((name, value.encode()) for name, value in headers.items())
        for name in headers:
            name.encode()
    except UnicodeEncodeError:
        detail = "a header of the record has characters that cannot be written as UTF-8"
        raise RejectedError(detail, "take the lone surrogates out of it") from None
    return Outgoing(partition, record.key, record.value, time, encoded)


def to_record(  # noqa: PLR0917 - called for every record: by position, as the message has them
    stream: str,
    partition: int,
    offset: int,
    timestamp: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str | bytes, bytes | None]],
) -> LogRecord:
    r"""Return a message as a record.

    :arg timestamp: In milliseconds since epoch; negative where the message has none: 0 takes its place.
    :arg headers: Of one that comes twice, the last counts; an absent value is an empty one; bytes that are no UTF-8
        are written as `\xNN`.
    """
    timestamp = max(timestamp, 0)
    if not headers:
        return LogRecord(stream, partition, offset, timestamp, key, value)
    texts = {_text(name): _text(text) for name, text in headers}
    if EVENT_TIME in texts:
        time = _time(texts[EVENT_TIME])
        if time is not None:
            timestamp = time
            del texts[EVENT_TIME]
    return LogRecord(stream, partition, offset, timestamp, key, value, texts)


def _text(raw: str | bytes | None) -> str:
    if isinstance(raw, str):
        return raw
    return "" if raw is None else raw.decode(errors="backslashreplace")


def _time(text: str) -> int | None:
    """Return the time that such a header says, None if it is none of ours."""
    if text == "0":
        return 0
    if not text.startswith("-") or not text[1:].isascii() or not text[1:].isdigit() or len(text) > len(str(-_INT64)):
        return None
    time = int(text)
    return time if time > -_INT64 else None
