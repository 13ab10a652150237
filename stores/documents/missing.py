"""Documents that are not found any more: deleted, renamed, or being saved by an editor that deletes first.

A missing document is given up only after a while; until then a file with its content is recognised as its new name.
"""

from __future__ import annotations

from itertools import islice, takewhile

GRACE_MILLIS = 100
_TWINS = 1_000


class Missing:
    """Missing documents, in the order in which they were missed."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._content: dict[str, tuple[int, str]] = {}
        self._by_content: dict[tuple[int, str], dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, path: str) -> bool:
        return path in self._since

    def add(self, path: str, content: tuple[int, str], since: int) -> None:
        """Note that `path`, whose size and digest are `content`, is missing; nothing if that is known."""
        if path not in self._since:
            self._since[path] = since
            self._content[path] = content
            self._by_content.setdefault(content, {})[path] = None

    def remove(self, path: str) -> None:
        """Forget `path`: it is there again, or its end has been told."""
        if self._since.pop(path, None) is not None:
            content = self._content.pop(path)
            twins = self._by_content[content]
            del twins[path]
            if not twins:
                del self._by_content[content]

    def twin(self, path: str, content: tuple[int, str]) -> str | None:
        """Return a missing document with this content, best one that is named like `path`."""
        twins = list(islice(self._by_content.get(content, ()), _TWINS))
        name = path.rpartition("/")[2]
        return next((twin for twin in twins if twin.rpartition("/")[2] == name), twins[0] if twins else None)

    def ripe(self, until: int, limit: int) -> list[str]:
        """Return up to `limit` documents that have been missing since `until` or longer, longest first."""
        return list(islice(takewhile(lambda path: self._since[path] <= until, self._since), limit))

    def clear(self) -> None:
        """Forget everything."""
        self._since.clear()
        self._content.clear()
        self._by_content.clear()
