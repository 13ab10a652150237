"""Server-sent events: the data of each event of a stream of bytes, however the bytes are cut.

After the HTML standard, section 9.2.6 (interpreting an event stream), with one difference: an event that the stream
ends within counts, as many servers leave out the last empty line. Invariant: how the bytes are cut makes no difference,
and no more of them are kept than one event may have.
"""

from __future__ import annotations

import re

LARGEST_EVENT = 256 * 1024
"""Bytes. An event holds a token; one with a whole answer in it is still far below."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class OversizedError(Exception):
    """An event has more bytes than any may."""


class Events:
    """Reads one stream."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False
        self._is_begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that end in `piece`.

        :raises OversizedError: When an event is too large.
        """
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_return = False
        if not piece:
            return []
        self._after_return = piece.endswith(b"\r")
        found: list[bytes] = []
        *ended, rest = _LINE_END.split(piece)
        for end in ended:
            self._grow(end)
            self._end_line(found)
        self._grow(rest)
        return found

    def end(self) -> list[bytes]:
        """Return the data of the event that the stream has ended within, if there is any."""
        found: list[bytes] = []
        self._end_line(found)
        self._dispatch(found)
        return found

    def _grow(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > LARGEST_EVENT:
            raise OversizedError
        if part:
            self._line.append(part)

    def _end_line(self, found: list[bytes]) -> None:
        line = b"".join(self._line)
        self._line.clear()
        if not self._is_begun:
            self._is_begun = True
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(found)
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif not self._data:
            self._size = 0  # comments keep a connection open for as long as they like

    def _dispatch(self, found: list[bytes]) -> None:
        if self._data:
            found.append(b"\n".join(self._data))
        self._data.clear()
        self._size = 0
