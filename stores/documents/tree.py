"""Walking a folder: every file that may be a document, once, in slices, without following a link.

A directory is announced to the watch before it is listed, so that what appears meanwhile is listed or reported.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from events.errors import RejectedError
from stores.documents.files import Look, PassingError, explain, is_absent
from stores.documents.rules import Rules


class Found(msgspec.Struct, frozen=True):
    """One name met on a walk.

    :arg path: Path below the root; that of a directory ends with a slash.
    :arg look: State of a regular file; None where only a closer look can tell, or where `error` does.
    :arg error: Why the directory could not be listed.
    """

    path: str
    look: Look | None = None
    error: RejectedError | PassingError | None = None


class Walk:
    """One walk over a directory and everything below it, as an iterator; what is no document comes as None.

    Names that are not in UTF-8 are met like all others, as Python spells them.

    :arg start: Where it begins; the root is the empty path.
    :arg announce: Called with each directory before it is listed.
    :arg began: When (ms since epoch).
    """

    def __init__(self, root: str, start: str, rules: Rules, announce: Callable[[str], None], began: int) -> None:
        self.start = start
        self.began = began
        self.seen: set[str] = set()
        self.changed: list[str] = []
        self.skipped: Counter[str] = Counter()
        self._root = root
        self._rules = rules
        self._announce = announce
        self._closed: list[str] = []
        self._found = self._walk()

    def __iter__(self) -> Iterator[Found | None]:
        return self._found

    def misses(self, path: str) -> bool:
        """Return whether the walk, when it is over, should have met a document at `path`, but has not."""
        if self.start and not path.startswith(self.start + "/"):
            return False
        return path not in self.seen and not any(path.startswith(prefix) for prefix in self._closed)

    def _walk(self) -> Iterator[Found | None]:
        stack = [self.start]
        while stack:
            directory = stack.pop()
            self._announce(directory)
            try:
                yield from self._list(directory, stack)
            except OSError as error:
                if not is_absent(error):
                    self._closed.append(f"{directory}/" if directory else "")
                    yield Found(f"{directory}/", error=explain(error))

    def _list(self, directory: str, stack: list[str]) -> Iterator[Found | None]:
        prefix = f"{directory}/" if directory else ""
        place = os.open(os.path.join(self._root, directory), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    path = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not self._rules.prunes(path):
                            stack.append(path)
                        yield None
                    else:
                        yield self._meet(entry, path)
        finally:
            os.close(place)

    def _meet(self, entry: os.DirEntry[str], path: str) -> Found | None:
        if entry.is_symlink():
            return None if self._rules.excludes(path) else Found(path)
        if not entry.is_file(follow_symlinks=False):
            return None
        if not self._rules.wants(path):
            if not self._rules.excludes(path):
                self.skipped[os.path.splitext(entry.name)[1].lower() or "no extension"] += 1
            return None
        try:
            return Found(path, Look.of(entry.stat(follow_symlinks=False)))
        except OSError as error:  # gone since it was listed, or the directory may be listed but not entered
            return None if is_absent(error) else Found(path)


def check_name(path: str) -> None:
    """Refuse a path that is not in UTF-8: it could not be shown, stored or found again.

    :raises RejectedError: With the name in a form that can be shown.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        message = f"the name {shown(path)!r} is not in UTF-8"
        raise RejectedError(message, "rename it") from None


def shown(path: str) -> str:
    r"""Return `path` with every byte that is not UTF-8 written as `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
