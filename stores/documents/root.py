"""The folder itself: whether it is there, and whether it is still the same one."""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path

from events.errors import StoreError


class Presence(Enum):
    """What has become of a folder since it was last accepted."""

    SAME = "same"
    AWAY = "away"
    REPLACED = "replaced"


class Root:
    """The folder at `path`; what a link there leads to, if it is one.

    :raises StoreError: When it is missing, is not a folder or cannot be listed.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._given = path
        try:
            status = os.stat(path)
            if not stat.S_ISDIR(status.st_mode):
                detail = f"folder {name!r}: {str(path)!r} is not a folder"
                raise StoreError(detail, "correct `path` in knowledge.folders")
            with os.scandir(path):
                pass
        except PermissionError:
            detail = f"folder {name!r}: {str(path)!r} may not be listed"
            raise StoreError(detail, "let the user that runs the flow read it") from None
        except OSError as error:
            detail = f"folder {name!r}: {str(path)!r} cannot be opened: {(error.strerror or '').lower()}"
            raise StoreError(detail, "make the folder, or correct `path` in knowledge.folders") from None
        self.accept()

    @property
    def given(self) -> Path:
        """The path as it was given."""
        return self._given

    def accept(self) -> None:
        """Take what is there at this moment for the folder."""
        self.path = os.path.realpath(self._given)
        self._identity = self._identify()

    def presence(self, *, expects_content: bool) -> Presence:
        """Say what has become of the folder.

        An empty folder on another device in the place of one with content is the mount point of a disk that is gone.
        """
        identity = self._identify()
        if identity == self._identity:
            return Presence.AWAY if identity is None else Presence.SAME
        if identity is None:
            return Presence.AWAY
        if expects_content and (self._identity is None or identity[0] != self._identity[0]) and self._is_empty():
            return Presence.AWAY
        return Presence.REPLACED

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._given)
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None

    def _is_empty(self) -> bool:
        try:
            with os.scandir(self._given) as entries:
                return next(entries, None) is None
        except OSError:
            return True
