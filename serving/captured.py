"""How fresh a stream can be at most that a capture fills: no fresher than the capture.

What a store has read of the log says nothing of changes that have not reached the log. So each capture takes part in
the age of what its stream brings, as one more partition: true as of the moment up to which everything was on the log
when the store last read there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from events.log import Applied
from stores.capture.places import Place, Places
from stores.settings import Settings

_BETWEEN = "/capture/"
"""Part of the names of these partitions' streams: no stream's own name has a slash."""


def stream_of(source: str) -> str:
    """Return the stream that a source of a mark belongs to: itself, or the one that the capture fills."""
    return source.partition(_BETWEEN)[0]


def is_capture(source: str) -> bool:
    """Tell whether a mark is one of these."""
    return _BETWEEN in source


class Captured:
    """The captures that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._filled: dict[str, list[str]] = {}
        for tap in settings.capture.taps:
            self._filled.setdefault(tap.target, []).append(tap.name)
        self._places = Places(settings.places_path)

    def partitions(self, streams: Iterable[str]) -> dict[str, list[int]]:
        """Return the partitions that captures add to those of `streams`."""
        return {f"{stream}{_BETWEEN}{tap}": [0] for stream in streams for tap in self._filled.get(stream, ())}

    def marks(self, applied: Sequence[Applied]) -> list[Applied]:
        """Return the marks of captures beside those that a store has noted of the streams.

        There is none of a capture that has not been as far as the store yet: the age cannot be told then.

        :raises StoreError: When the file of places cannot be read.
        """
        if not self._filled:
            return []
        return self.beside(applied, self._places.read())

    def beside(self, applied: Sequence[Applied], places: Mapping[str, Place]) -> list[Applied]:
        """Return the marks of captures as `marks` does, of places that were read before."""
        read_at: dict[str, int] = {}
        for mark in applied:
            read_at[mark.source] = min(mark.read_at, read_at.get(mark.source, mark.read_at))
        found = []
        for stream, taps in self._filled.items():
            for tap in taps:
                place = places.get(tap)
                true_at = None if place is None or stream not in read_at else place.true_at(read_at[stream])
                if place is not None and true_at is not None:
                    found.append(
                        Applied(f"{stream}{_BETWEEN}{tap}", "0", 0, place.event_time, true_at, True, read_at[stream])
                    )
        return found
