"""Document changes as events on the log: our own documented JSON, decoded and validated at the edge.

The value of a record is an object:

    op          "upsert" (default) or "delete"
    uri         name of the document within the stream, such as "fares/light.md"
    content     the whole text, or
    content_b64 the whole content as base64, for PDF and DOCX
    media_type  such as "text/markdown"; by default told from the uri's ending
    title, audience (list of labels), metadata (strings), moved (the other uri of a rename)
    position    a whole number that orders the changes of one document; without it the record's offset does, and then
                the record's key must be the uri: only the records of one key are in order

A record with a key and no value (a tombstone) deletes the document that the key names.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from events.documents import DocumentChange
from events.errors import RejectedError
from events.log import LogRecord, refuse_broken

MAX_URI = 1024


class _Event(msgspec.Struct):
    uri: str
    op: Literal["upsert", "delete"] = "upsert"
    content: str | None = None
    content_b64: str | None = None
    media_type: str = ""
    title: str = ""
    audience: tuple[str, ...] = ("public",)
    metadata: dict[str, str] = {}
    moved: str = ""
    position: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None


_decoder = msgspec.json.Decoder(_Event)


def decode_document(record: LogRecord, media_type_of: Callable[[str], str | None], max_bytes: int) -> DocumentChange:
    """Turn a record into the document change that it says.

    :arg media_type_of: Tells the media type from a uri, None if it is none that can be parsed.
    :arg max_bytes: Bound of the document's size.
    :raises RejectedError: With what is wrong, where, and what to do.
    """
    refuse_broken(record)
    if record.value is None:
        uri = _checked_uri(_text_of(record.key))
        return DocumentChange(record.stream, uri, "delete", record.offset, record.event_time)
    try:
        event = _decoder.decode(record.value)
    except msgspec.DecodeError as error:
        msg = f"not a document event: {error}"
        raise RejectedError(msg, "see `headrace log --help` for its fields") from None
    except UnicodeDecodeError as error:
        msg = f"not UTF-8: {error.reason} at byte {error.start}"
        raise RejectedError(msg, "encode the event as UTF-8") from None
    uri = _checked_uri(event.uri)
    position = _position(record, event)
    change = DocumentChange(
        source=record.stream,
        uri=uri,
        op=event.op,
        position=position,
        event_time=record.event_time,
        moved=_checked_uri(event.moved) if event.moved else "",
    )
    if event.op == "delete":
        return change
    content = _content_of(event)
    if len(content) > max_bytes:
        msg = f"{uri}: {len(content)} bytes, over the limit of {max_bytes}"
        raise RejectedError(msg, "raise max_document_bytes")
    media_type = event.media_type or media_type_of(uri)
    if media_type is None:
        msg = f"{uri}: no media type can be told from the name"
        raise RejectedError(msg, "give media_type in the event")
    return msgspec.structs.replace(
        change,
        content=content,
        media_type=media_type,
        title=event.title,
        audience=event.audience,
        metadata=event.metadata,
    )


def _position(record: LogRecord, event: _Event) -> int:
    if event.position is not None:
        return event.position
    if record.key != event.uri.encode():
        msg = f"{event.uri}: the record's key is not the uri, so that its versions are in no order"
        raise RejectedError(msg, "use the uri as the key, or give the event a position")
    return record.offset


def _content_of(event: _Event) -> bytes:
    if (event.content is None) == (event.content_b64 is None):
        msg = f"{event.uri}: an upsert needs either content or content_b64"
        raise RejectedError(msg, "give exactly one")
    if event.content is not None:
        return event.content.encode()
    try:
        return base64.b64decode(event.content_b64 or "", validate=True)
    except binascii.Error as error:
        msg = f"{event.uri}: content_b64 is not base64: {error}"
        raise RejectedError(msg, "encode it again") from None


def _text_of(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        msg = "a tombstone whose key is not UTF-8"
        raise RejectedError(msg, "use the document's uri as key") from None


def _checked_uri(uri: str) -> str:
    """Return `uri` if it names a document below its source: relative, without `..`, bounded, printable."""
    if not uri:
        msg = "the event names no document"
        raise RejectedError(msg, "give its uri")
    if len(uri) > MAX_URI:
        msg = f"a uri of {len(uri)} characters"
        raise RejectedError(msg, f"use at most {MAX_URI}")
    if uri.startswith("/") or ".." in uri.split("/") or not uri.isprintable():
        msg = f"the uri {uri!r} leads out of its source or is not printable"
        raise RejectedError(msg, "use a relative path")
    return uri
