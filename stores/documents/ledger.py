"""What is known of a folder's documents: the state in which each was last handed on, and which links lead to which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from stores.documents.batch import Known
from stores.documents.files import Fingerprint, Look


class Entry(msgspec.Struct):
    """One document as it was last handed on.

    :arg look: State of the file that had this content; None until this process has seen it.
    :arg racy: Whether the file may have changed since without looking different.
    """

    fingerprint: Fingerprint
    look: Look | None = None
    racy: bool = False

    @property
    def content(self) -> tuple[int, str]:
        """Size and digest: equal for equal contents."""
        return self.fingerprint.size, self.fingerprint.digest

    @property
    def mtime(self) -> int:
        """When the document was last changed (ms since epoch); negative if that is not known."""
        return self.fingerprint.mtime_ns // 1_000_000

    def is_current(self, look: Look, rules: str) -> bool:
        """Return whether a file in state `look` can only have the content that was handed on."""
        if self.racy or self.fingerprint.rules != rules:
            return False
        if self.look is not None:
            return self.look == look
        return (self.fingerprint.size, self.fingerprint.mtime_ns) == (look.size, look.mtime_ns)


class Ledger:
    """The documents of one folder by path.

    :arg known: What the store holds of the folder.
    """

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._entries: dict[str, Entry] = {}
        self._directories: Counter[str] = Counter()
        self._links: dict[str, str] = {}
        for path, document in known.items():
            self.put(path, Entry(Fingerprint.parse(document.fingerprint)))

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Iterable[Entry]:
        """Return what is known of all documents."""
        return self._entries.values()

    def get(self, path: str) -> Entry | None:
        """Return what is known of `path`."""
        return self._entries.get(path)

    def put(self, path: str, entry: Entry) -> None:
        """Note what was handed on of `path`."""
        if path not in self._entries:
            self._directories.update(_above(path))
        self._entries[path] = entry

    def remove(self, path: str) -> Entry:
        """Forget the document at `path` and return what was known of it."""
        self._directories.subtract(_above(path))
        for directory in _above(path):
            if not self._directories[directory]:
                del self._directories[directory]
        return self._entries.pop(path)

    def has_below(self, path: str) -> bool:
        """Return whether documents below the directory `path` are known."""
        return path in self._directories

    def below(self, directories: set[str]) -> Iterator[str]:
        """Yield the known documents below any of the `directories`."""
        if directories:
            for path in self._entries:
                if any(directory in directories for directory in _above(path)):
                    yield path

    def link(self, path: str, target: str | None) -> None:
        """Note that `path` is a link to the file `target`; None: that it is none."""
        if target is None:
            self._links.pop(path, None)
        else:
            self._links[path] = target

    def links(self, target: str | None) -> list[str]:
        """Return the links that lead to `target` or below it; None: all links."""
        if target is None:
            return list(self._links)
        below = f"{target}/"
        return [link for link, end in self._links.items() if end == target or end.startswith(below)]


def _above(path: str) -> Iterator[str]:
    place = path.rfind("/")
    while place > 0:
        yield path[:place]
        place = path.rfind("/", 0, place)
