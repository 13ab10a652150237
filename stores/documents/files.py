"""Looking at and reading one file below a root.

Nothing outside the root is ever opened, nothing but a regular file is ever read, and what is returned as content was
the whole file at one moment.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from enum import Enum

import msgspec

from events.errors import RejectedError

RACY_MILLIS = 2_000
"""A file read this soon after its last change may have changed again within the same tick of its clock."""

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EAGAIN, errno.EINTR}
_O_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_O_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_READ_BYTES = 2**20


class PassingError(Exception):
    """The file cannot be read at this moment (it changes, or the system is short of something): try again."""


class Look(msgspec.Struct, frozen=True):
    """What tells one state of a file from another without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Look:
        """Take the look from what the system says of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino)

    @property
    def mtime(self) -> int:
        """When the file was last changed (ms since epoch)."""
        return self.mtime_ns // 1_000_000


class Fingerprint(msgspec.Struct, frozen=True):
    """Recognises the unchanged document: `size:mtime_ns:digest:rules`.

    `mtime_ns` is -1 for a file that was read within `RACY_MILLIS` of its change: its time does not prove anything
    then, and the next start compares the content. `rules` stands for what the settings add to the document.
    """

    size: int
    mtime_ns: int
    digest: str
    rules: str

    def __str__(self) -> str:
        return f"{self.size}:{self.mtime_ns}:{self.digest}:{self.rules}"

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read a fingerprint; one that is not ours equals no file's."""
        parts = text.split(":")
        try:
            size, mtime_ns, digest, rules = parts
            return cls(int(size), int(mtime_ns), digest, rules)
        except ValueError:
            return cls(-1, -1, "", "")


class Kind(Enum):
    """What there is at a path."""

    ABSENT = "absent"
    FILE = "file"
    DIRECTORY = "directory"
    OTHER = "other"


class Seen(msgspec.Struct, frozen=True):
    """What there is at a path below the root.

    :arg kind: A link inside the root has the kind of its target.
    :arg real: Path below the root under which a file can be opened without following links.
    :arg look: State of the file; None unless it is one.
    :arg link: Whether the path itself is a symbolic link; `real` is what it leads to then, be it there or not.
    """

    kind: Kind
    real: str = ""
    look: Look | None = None
    link: bool = False


class OutsideError(RejectedError):
    """A symbolic link leads outside the root. `directory` tells what to."""

    def __init__(self, target: str, directory: bool) -> None:
        super().__init__(
            f"symbolic link leads outside the folder, to {target!r}", "put the document itself into the folder"
        )
        self.directory = directory


def examine(root: str, path: str) -> Seen:
    """Say what there is at `path` below `root`, which is free of links itself. Opens nothing.

    :raises OutsideError: For a symbolic link that leads outside.
    :raises RejectedError: When the system does not let us look.
    :raises PassingError: When it cannot at this moment.
    """
    full = os.path.join(root, path)
    directory = os.path.dirname(full)
    try:
        if directory != root and os.path.realpath(directory) != directory:
            return Seen(Kind.ABSENT)  # it is reached through a link to a directory: it has another path
        status = os.lstat(full)
        if not stat.S_ISLNK(status.st_mode):
            return _seen(status, path, link=False)
        return _examine_target(root, os.path.realpath(full))
    except OSError as error:
        if is_absent(error):
            return Seen(Kind.ABSENT)
        raise explain(error) from None


def _examine_target(root: str, target: str) -> Seen:
    inside = target == root or target.startswith(root.rstrip(os.sep) + os.sep)
    real = os.path.relpath(target, root).replace(os.sep, "/") if inside else ""
    try:
        status = os.lstat(target)
    except OSError as error:
        if is_absent(error):
            return Seen(Kind.ABSENT, real, link=True)  # what it leads to may appear
        raise
    if not inside:
        raise OutsideError(target, stat.S_ISDIR(status.st_mode))
    if stat.S_ISLNK(status.st_mode):  # a ring of links
        return Seen(Kind.ABSENT, real, link=True)
    return _seen(status, real, link=True)


def _seen(status: os.stat_result, real: str, *, link: bool) -> Seen:
    if stat.S_ISREG(status.st_mode):
        return Seen(Kind.FILE, real, Look.of(status), link)
    return Seen(Kind.DIRECTORY if stat.S_ISDIR(status.st_mode) else Kind.OTHER, real, link=link)


def is_absent(error: OSError) -> bool:
    """Return whether the error says that there is nothing at the path, or a link that leads nowhere."""
    return error.errno in _ABSENT


def explain(error: OSError) -> RejectedError | PassingError:
    """Return what `error` means for the document: it cannot be read, or not at this moment."""
    reason = (error.strerror or "unknown error").lower()
    if error.errno in _PASSING:
        return PassingError(reason)
    if error.errno in (errno.EACCES, errno.EPERM):
        return RejectedError("permission denied", "let the user that runs the flow read it")
    return RejectedError(f"it cannot be read: {reason}", "repair it, then replay the dead letter")


def too_large(size: int, limit: int) -> RejectedError:
    """Return the reason why a document of `size` bytes is not read."""
    return RejectedError(
        f"document has {size} bytes, over the limit of {limit}", "split it or raise knowledge.max_document_bytes"
    )


def read(root: str, real: str, limit: int) -> tuple[bytes, Look]:
    """Return the whole content of the regular file at `real` below `root`, and the state that it belongs to.

    No part of `real` may be a link, so that whoever swaps a directory for a link gains nothing by it.

    :raises RejectedError: When it is larger than `limit` or may not be read.
    :raises PassingError: When it is not there any more, or changed while it was read.
    """
    try:
        file = _open(root, real)
        try:
            return _read_whole(file, limit)
        finally:
            os.close(file)
    except OSError as error:
        if is_absent(error):
            reason = "it was replaced while it was opened"
            raise PassingError(reason) from None
        raise explain(error) from None


def _open(root: str, real: str) -> int:
    *directories, name = real.split("/")
    place = os.open(root, _O_DIRECTORY)
    try:
        for directory in directories:
            below = os.open(directory, _O_DIRECTORY, dir_fd=place)
            os.close(place)
            place = below
        return os.open(name, _O_FILE, dir_fd=place)
    finally:
        os.close(place)


def _read_whole(file: int, limit: int) -> tuple[bytes, Look]:
    before = os.fstat(file)
    if not stat.S_ISREG(before.st_mode):
        reason = "it is not a regular file any more"
        raise PassingError(reason)
    if before.st_size > limit:
        raise too_large(before.st_size, limit)
    parts = []
    left = before.st_size + 1  # one more than there should be: finds out whether it grew
    while left > 0 and (part := os.read(file, min(left, _READ_BYTES))):
        parts.append(part)
        left -= len(part)
    look = Look.of(os.fstat(file))
    if look != Look.of(before) or left != 1:
        reason = "it changes while it is read"
        raise PassingError(reason)
    return b"".join(parts), look


def digest(content: bytes) -> str:
    """Return the hash by which equal contents are recognised."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
