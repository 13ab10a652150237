"""What becomes of objects on the log: document events, in the format that the knowledge flow reads."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from events.log import BROKEN, LogRecord

_LONGEST = 300
_ENCODED = 4 / 3
_MOST_KEPT = 64 * 2**10


class Documents:
    """Makes the events of one stream.

    :arg bucket: Where the objects are.
    :arg audience: Who may read them; empty: nothing is said about it.
    """

    def __init__(self, stream: str, bucket: str, audience: Sequence[str]) -> None:
        self._stream = stream
        self._bucket = bucket
        self._audience = tuple(audience)

    def upsert(
        self, key: str, position: int, at: int, content: bytes, *, media_type: str = "", version: str = ""
    ) -> LogRecord:
        """Say what a document is. Without a media type, its name tells it."""
        event: dict[str, object] = {"uri": key, "op": "upsert", "position": position}
        if media_type:
            event["media_type"] = media_type
        if self._audience:
            event["audience"] = self._audience
        event["metadata"] = self._metadata(version)
        text = _text(content)
        if text is not None:
            written = msgspec.json.encode({**event, "content": text})
            # Characters that JSON escapes take up to six times their room.
            if len(written) <= _ENCODED * len(content) + _LONGEST:
                return self._record(key, at, written)
        encoded = {**event, "content_b64": base64.b64encode(content).decode()}
        return self._record(key, at, msgspec.json.encode(encoded))

    def delete(self, key: str, position: int, at: int) -> LogRecord:
        """Say that a document is gone."""
        return self._record(key, at, msgspec.json.encode({"uri": key, "op": "delete", "position": position}))

    def unfit(self, key: str, position: int, at: int, reason: str) -> tuple[LogRecord, LogRecord]:
        """Say that a document cannot be read: it is withdrawn, as its former text is not true any more."""
        event = {"uri": key, "op": "upsert", "position": position, "metadata": self._metadata("")}
        told = f"s3://{self._bucket}/{key[:_LONGEST]}: {reason}"
        broken = self._record(key, at, msgspec.json.encode(event), told)
        return self.delete(key, position, at), broken

    def poison(self, body: str, at: int, reason: str) -> LogRecord:
        """Pass on a message that cannot be understood."""
        return self._record(None, at, body.encode(errors="replace")[:_MOST_KEPT], reason)

    def _metadata(self, version: str) -> dict[str, str]:
        return {"bucket": self._bucket} | ({"version": version} if version else {})

    def _record(self, key: str | None, at: int, value: bytes, broken: str = "") -> LogRecord:
        headers = {BROKEN: _printable(broken)} if broken else {}
        name = None if key is None else key.encode(errors="replace")
        return LogRecord(self._stream, 0, 0, at, name, value, headers)


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
