"""Requests to read files of a folder again: dead letters that came back over a flow's replay stream."""

from __future__ import annotations

from collections.abc import Sequence

from events.log import original_of
from stores.log.base import Log

LIMIT = 100


class ReplayRequests:
    """Names the files of one folder that a replay asks for, each request once.

    Requests from before it was made are left out: a start reads everything that is not in the store anyway.

    :arg log: The log; reading an absent stream finds nothing.
    :arg stream: The flow's replay stream.
    :arg folder: Name of the folder.
    """

    def __init__(self, log: Log, stream: str, folder: str) -> None:
        self._log = log
        self._stream = stream
        self._folder = folder
        self._offsets = {number: log.bounds(stream, number)[1] for number in log.partitions(stream)}

    def __call__(self) -> Sequence[str]:
        """Return the uris asked for since the last call, in order; never blocks."""
        uris: list[str] = []
        for number in self._log.partitions(self._stream):
            records, self._offsets[number] = self._log.read(self._stream, number, self._offsets.get(number, 0), LIMIT)
            for original in map(original_of, records):
                if original.stream == self._folder:
                    uris.append((original.key or b"").decode(errors="replace"))
        return uris
