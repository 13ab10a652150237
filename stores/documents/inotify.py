"""Watching on Linux, by inotify(7) itself: no thread, no delay, and it says when it has missed something.

Only real directories below the root are watched, never what a symbolic link leads to. The kernel queues a hint
before the call that caused it returns: when the queue has been read empty, everything up to that moment is known.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct

from events.clock import Clock
from stores.documents.watch import News, Watch

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_UNMOUNT, _Q_OVERFLOW, _IGNORED = 0x2000, 0x4000, 0x8000
_ONLYDIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000
_MASK = (
    (_MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE)
    | (_DELETE_SELF | _MOVE_SELF)
    | (_ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK)
)
_SETTLING = _CLOSE_WRITE | _MOVED_TO
_EVENT = struct.Struct("iIII")
_READ_BYTES = 2**16
_READS = 8
_ESCAPED = re.compile(r"\\([0-7]{3})")
_REMOTE = {"9p", "afs", "ceph", "cifs", "fakeowner", "fuse", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "vboxsf"}


class InotifyWatch(Watch):
    """One inotify queue for a folder, one watch for each of its directories."""

    def __init__(self, root: str, clock: Clock) -> None:
        self._queue = -1
        self._root = root
        self._clock = clock
        self._heard_until = clock()
        self._path_of: dict[int, str] = {}
        self._watch_of: dict[str, int] = {}
        self._library = ctypes.CDLL(None, use_errno=True)
        self._queue = int(self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._problem = f"inotify: {os.strerror(ctypes.get_errno())}" if self._queue < 0 else _remote(root)
        self.add("")

    def add(self, directory: str) -> None:
        """Watch a directory; one that was moved is known by its new path from here on."""
        if self._queue < 0:
            return
        place = os.fsencode(os.path.join(self._root, directory))
        watch = self._library.inotify_add_watch(self._queue, place, _MASK)
        if watch < 0:
            self._note_failure(ctypes.get_errno())
            return
        former = self._path_of.get(watch)
        if former == directory:
            return
        if former is not None and self._watch_of.get(former) == watch:
            del self._watch_of[former]
        stale = self._watch_of.get(directory)
        if stale is not None and self._path_of.get(stale) == directory:
            self._library.inotify_rm_watch(self._queue, stale)
            del self._path_of[stale]
        self._path_of[watch] = directory
        self._watch_of[directory] = watch

    def take(self) -> News:
        """Read the queue; if it is very full, a part of it."""
        paths: dict[str, bool] = {}
        lost = False
        now = self._clock()
        for _ in range(_READS if self._queue >= 0 else 0):
            try:
                data = os.read(self._queue, _READ_BYTES)
            except BlockingIOError:
                self._heard_until = now
                break
            lost |= self._read_events(data, paths)
        return News(set(paths), lost, frozenset(path for path, settled in paths.items() if settled))

    @property
    def heard_until(self) -> int:
        """When the queue was last read empty."""
        return self._heard_until

    @property
    def problem(self) -> str:
        """What the kernel refused, or why it cannot know."""
        return self._problem

    def close(self) -> None:
        """Give the queue and all watches back."""
        if self._queue >= 0:
            os.close(self._queue)
            self._queue = -1

    def __del__(self) -> None:
        self.close()

    def _read_events(self, data: bytes, paths: dict[str, bool]) -> bool:
        """Note each path, and whether what happened last left it settled. Return whether events were lost."""
        lost = False
        place = 0
        while place < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, place)
            place += _EVENT.size + length
            if mask & _Q_OVERFLOW:
                lost = True
                continue
            directory = self._path_of.get(watch)
            if directory is None:
                continue
            if mask & _IGNORED:
                del self._path_of[watch]
                if self._watch_of.get(directory) == watch:
                    del self._watch_of[directory]
            if mask & _UNMOUNT:
                lost = True
            name = os.fsdecode(data[place - length : place].rstrip(b"\0"))
            path = f"{directory}/{name}" if directory and name else directory or name
            paths[path] = bool(mask & _SETTLING)
        return lost

    def _note_failure(self, number: int) -> None:
        if number == errno.ENOSPC:
            self._problem = "the limit of watched directories is reached; raise the sysctl fs.inotify.max_user_watches"
        elif number not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            self._problem = f"inotify: {os.strerror(number)}"


def _remote(root: str) -> str:
    """Say why changes made on other machines stay unheard, if `root` is on a file system that is shared with them."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split(" - ", 1) for line in file]
    except OSError:
        return ""
    best, kind = "", ""
    for mount, rest in mounts:
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), mount.split(" ")[4])
        if (root == point or root.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, rest.split(" ", 1)[0]
    return f"changes made elsewhere are not reported on {kind}" if kind.split(".")[0] in _REMOTE else ""
