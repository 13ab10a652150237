"""Looks for texts in all bytes of all files below a folder, whatever wrote them.

Each file is read once, in pieces of which no two matter at a time; a text that lies across their border is found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

SHORTEST = 4
"""Characters of the shortest text that is looked for."""

_PIECE = 4 * 2**20
_BITS = 20
_MIX = np.uint32(2_654_435_761)
_SHIFT = np.uint32(32 - _BITS)


class Scanned(msgspec.Struct):
    """What was found.

    :arg hits: By file and text, how often; a text counts once for all the ways in which it is written.
    """

    files: int = 0
    size: int = 0
    hits: dict[Path, dict[str, int]] = msgspec.field(default_factory=dict)
    unread: list[Path] = msgspec.field(default_factory=list)


class Needles:
    """Texts to be looked for, as UTF-8 and as JSON escapes it.

    Their first four bytes are looked up in a table for each place of the data; only where the table says that one may
    begin there, the rest is compared. So it does not matter how many there are.

    :arg texts: Those of less than `SHORTEST` characters are left out.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._written: dict[bytes, str] = {}
        for text in texts:
            if len(text) >= SHORTEST:
                self._written |= dict.fromkeys(ways(text), text)
        self.texts = frozenset(self._written.values())
        self.longest = max(map(len, self._written), default=SHORTEST)
        self._begins: dict[bytes, list[bytes]] = {}
        for written in sorted(self._written, key=len, reverse=True):
            self._begins.setdefault(written[:SHORTEST], []).append(written)
        self._table = np.zeros(1 << _BITS, dtype=np.bool_)
        for begin in self._begins:
            self._table[_hashed(np.frombuffer(begin, dtype="<u4"))] = True

    def __bool__(self) -> bool:
        return bool(self._written)

    def in_(self, data: bytes, until: int | None = None) -> Iterator[str]:
        """Yield the text of each occurrence that begins before `until`; of several at one place the longest."""
        for place in self._places(data):
            if until is not None and place >= until:
                continue
            for written in self._begins.get(data[place : place + SHORTEST], ()):
                if data.startswith(written, place):
                    yield self._written[written]
                    break

    def _places(self, data: bytes) -> list[int]:
        found: list[npt.NDArray[np.intp]] = []
        for start in range(SHORTEST):
            count = (len(data) - start) // SHORTEST
            if count > 0:
                words = np.frombuffer(data, dtype="<u4", count=count, offset=start)
                found.append(np.flatnonzero(self._table[_hashed(words)]) * SHORTEST + start)
        return [int(place) for place in np.sort(np.concatenate(found))] if found else []


def scan(
    folders: Iterable[Path],
    needles: Needles,
    besides: Collection[Path] = (),
    progress: Callable[[int], object] = lambda size: None,
) -> Scanned:
    """Search all files below `folders`, each once; those that vanish meanwhile are passed over.

    :arg besides: Files that are left out.
    :arg progress: Told of the bytes read, piece by piece.
    """
    scanned = Scanned()
    done = {path.absolute() for path in besides}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.absolute() in done or not path.is_file():
                continue
            done.add(path.absolute())
            scan_file(path, needles, scanned, progress)
    return scanned


def scan_file(
    path: Path, needles: Needles, scanned: Scanned, progress: Callable[[int], object] = lambda size: None
) -> None:
    """Search one file, and add what is found to `scanned`."""
    hits: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            rest = b""
            while piece := file.read(_PIECE):
                data = rest + piece
                # What begins in the last bytes may end in the next piece, and is looked for there.
                until = max(0, len(data) - needles.longest + 1)
                for text in needles.in_(data, until):
                    hits[text] = hits.get(text, 0) + 1
                rest = data[until:]
                scanned.size += len(piece)
                progress(len(piece))
            for text in needles.in_(rest):
                hits[text] = hits.get(text, 0) + 1
    except FileNotFoundError:
        return
    except OSError:
        scanned.unread.append(path)
        return
    scanned.files += 1
    if hits:
        scanned.hits[path] = hits


def ways(text: str) -> set[bytes]:
    """Return how a text may be written: as UTF-8, within JSON, and within JSON of ASCII alone, in both cases of hex."""
    written = {text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]}
    written.add("".join(map(_in_capitals, text)))
    return {one.encode(errors="surrogatepass") for one in written}


def _in_capitals(character: str) -> str:
    escaped = json.dumps(character)[1:-1]
    return escaped.upper().replace("\\U", "\\u") if escaped.startswith("\\u") else escaped


def _hashed(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    hashed: npt.NDArray[np.uint32] = (words * _MIX) >> _SHIFT
    return hashed
