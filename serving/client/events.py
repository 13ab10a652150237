"""The events of an answer, out of the bytes of its stream however these are cut.

Invariant: a stream ends in a whole answer or in an error; one that breaks off before is an error, too.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from serving.client.documents import Answer, Context, Token
from serving.client.errors import BrokenError, broken, of_event

AnswerEvent: TypeAlias = Context | Token | Answer

_TYPES: dict[bytes, type[AnswerEvent]] = {b"context": Context, b"token": Token, b"answer": Answer}
_LARGEST = 64 * 2**20


class EventReader:
    """Reads one stream."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._ended = False

    def feed(self, piece: bytes) -> list[AnswerEvent]:
        """Return the events that end in `piece`.

        :raises ClientError: When one of them is an error, or cannot be read.
        """
        begin = max(0, len(self._rest) - 1)
        self._rest += piece
        if self._rest.find(b"\n\n", begin) < 0:
            if len(self._rest) > _LARGEST:
                detail = "an event of the stream is too large"
                raise broken(detail)
            return []
        *whole, rest = bytes(self._rest).split(b"\n\n")
        self._rest = bytearray(rest)
        return [event for one in whole if (event := self._read(one)) is not None]

    def end(self) -> None:
        """Check that the stream has ended as it should.

        :raises BrokenError: When there was no whole answer.
        """
        if not self._ended:
            detail = "the answer broke off"
            raise BrokenError(detail, "ask again", "cut")

    def _read(self, event: bytes) -> AnswerEvent | None:
        fields = dict(
            line.split(b": ", 1) for line in event.split(b"\n") if b": " in line and not line.startswith(b":")
        )
        name, data = fields.get(b"event", b""), fields.get(b"data", b"")
        if name == b"error":
            raise of_event(data)
        kind = _TYPES.get(name)
        if kind is None:
            return None
        try:
            found: AnswerEvent = msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            detail = f"an event of the stream cannot be read: {error}"
            raise broken(detail) from None
        self._ended = self._ended or isinstance(found, Answer)
        return found
