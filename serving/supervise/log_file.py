"""What a process has said, line by line with the time, in files that never grow beyond a bound."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from events.clock import Clock, to_iso

OLDER = 2
"""Files kept beside the one that is written: `NAME.log.1` is younger than `NAME.log.2`."""


def share_of(megabytes: float) -> int:
    """Return the bytes of each file for them to take so much together."""
    return max(1, int(megabytes * 2**20) // (OLDER + 1))


class LogFile:
    """The file. A disk that cannot be written to loses lines, and stops nothing.

    :arg path: Made, with its folder, by the first line; appended to if it is there.
    :arg most: Bytes after which a new file is begun.
    """

    def __init__(self, path: Path, clock: Clock, most: int) -> None:
        self._path = path
        self._clock = clock
        self._most = most
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, lines: list[str]) -> None:
        """Add lines."""
        try:
            for line in lines:
                self._write(f"{to_iso(self._clock())} {line}\n".encode(errors="backslashreplace"))
        except OSError:
            self.close()

    def close(self) -> None:
        """Give the file back. It can be written to again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: bytes) -> None:
        if self._file is not None and self._size + len(line) > self._most:
            self.close()
            self._rotate()
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
            self._size = self._file.tell()
        self._size += self._file.write(line)

    def _rotate(self) -> None:
        for number in range(OLDER, 0, -1):
            younger = self._older(number - 1)
            if younger.exists():
                younger.replace(self._older(number))

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
