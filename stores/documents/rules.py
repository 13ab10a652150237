"""What the settings of a folder say of a document, by its path alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from stores.documents.patterns import Audiences, Patterns
from stores.settings import FolderSettings

MediaTypeOf = Callable[[str], "str | None"]
"""Returns the media type of the document at a path, None if documents of its kind cannot be parsed."""


class Rules:
    """Which paths are documents, of which type, and for whom."""

    def __init__(self, folder: FolderSettings, media_type_of: MediaTypeOf) -> None:
        self._patterns = Patterns(folder.include, folder.exclude)
        self._audiences = Audiences(folder.audience, folder.audiences)
        self._media_type_of = media_type_of
        self._marks: dict[tuple[str, tuple[str, ...]], str] = {}

    def wants(self, path: str) -> bool:
        """Return whether a file at `path` is a document to be read."""
        return self._patterns.wants(path) and self._media_type_of(path) is not None

    def excludes(self, path: str) -> bool:
        """Return whether `path` is excluded, by itself or with a directory above it."""
        return self._patterns.excludes(path)

    def prunes(self, directory: str) -> bool:
        """Return whether nothing below `directory` is wanted."""
        return self._patterns.prunes(directory)

    def media_type(self, path: str) -> str:
        """Return the type of the document at `path`; empty if it has none any more."""
        return self._media_type_of(path) or ""

    def audience(self, path: str) -> tuple[str, ...]:
        """Return who may read the document at `path`."""
        return self._audiences.of(path)

    def mark(self, path: str) -> str:
        """Return a short hash of all that the rules say of `path`: another one, and the document is handed on anew."""
        key = (self.media_type(path), self.audience(path))
        mark = self._marks.get(key)
        if mark is None:
            mark = hashlib.blake2b(repr(key).encode(), digest_size=4).hexdigest()
            self._marks[key] = mark
        return mark
