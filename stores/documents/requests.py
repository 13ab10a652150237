"""Requests to read files of a folder again: dead letters that came back over a flow's replay stream."""

from __future__ import annotations

from collections.abc import Sequence

from events.log import original_of, replay_stream
from stores.log.base import Log

LIMIT = 100


class ReplayRequests:
    """Names the files of one folder that a replay asks for, each request once.

    Requests from before it was made are left out: a start reads everything that is not in the store anyway.

    :arg log: The log; reading an absent stream finds nothing.
    :arg flow: The flow whose replay stream is read.
    :arg folder: Name of the folder.
    """

    def __init__(self, log: Log, flow: str, folder: str) -> None:
        self._log = log
        self._flow = flow
        self._stream = replay_stream(flow)
        self._folder = folder
        self._offsets = {number: log.bounds(self._stream, number)[1] for number in log.partitions(self._stream)}

    def __call__(self) -> Sequence[str]:
        """Return the uris asked for since the last call, in order; never blocks."""
        uris: list[str] = []
        for number in self._log.partitions(self._stream):
            records, self._offsets[number] = self._log.read(self._stream, number, self._offsets.get(number, 0), LIMIT)
            for original in (original_of(record, self._flow) for record in records):
                if original.stream == self._folder:
                    uris.append((original.key or b"").decode(errors="replace"))
        return uris
