"""The file that remembers who has been erased: by fingerprints, so that it can tell but not be asked who it was.

A person's fingerprints are in it before anything is removed, and stay. While an erasure is under way the file also
holds what that erasure names, so that it can be brought to its end after a crash; then only fingerprints and a receipt
without personal data are left. The file is replaced whole: it is the old one or the new one at every moment.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from events.erasure import Erasure, Fingerprint, Fingerprints
from events.errors import StoreError
from stores.lock import WriterLock

SECRET_BYTES = 32
LOOK_SECONDS = 0.1
"""How old the knowledge of who is erased may be, in a flow that runs."""

_VERSION = 1
_HINT = "restore it from a copy: without it, events of erased persons would come in again"


class Found(msgspec.Struct, frozen=True):
    """A file in which values of the person stand.

    :arg path: Relative to the folder that was scanned.
    :arg count: How often.
    """

    path: str
    count: int


class Pending(msgspec.Struct, frozen=True):
    """An erasure that has not come to its end.

    :arg telling: Texts that name this person and nobody else, wherever they stand.
    :arg values: Other texts of the person's rows, which others may have too.
    :arg stood: In which files the first ones stood when it was begun.
    """

    erasure: Erasure
    telling: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    stood: tuple[Found, ...] = ()


class Removed(msgspec.Struct, frozen=True):
    """How much was removed at one place.

    :arg place: Such as `profile store` or `log/customers`.
    :arg what: Such as `rows` or `lines`.
    """

    place: str
    what: str
    count: int


class Receipt(msgspec.Struct, frozen=True):
    """What came of an erasure; says nothing of who it was. Times are in milliseconds since 1970-01-01 UTC.

    :arg removed: What was removed where.
    :arg stood: Files in which texts that name the person alone stood before, but for the log.
    :arg compacted: Databases that were written anew, so that no page of them holds what was deleted.
    :arg values: How many values of the person were searched for.
    :arg shared: How many of those others have as well: where they were found does not count.
    :arg scanned_bytes: Bytes of all files that were searched.
    :arg found: Where values were found that nobody else has.
    :arg remarks: What could not be done, and what is left to do by its user.
    :arg unfinished: Whether something could not be done that may be done later.
    """

    id: str
    begun_at: int
    finished_at: int
    removed: tuple[Removed, ...]
    compacted: int
    values: int
    shared: int
    scanned_files: int
    scanned_bytes: int
    found: tuple[Found, ...] = ()
    remarks: tuple[str, ...] = ()
    stood: tuple[Found, ...] = ()
    unfinished: bool = False

    @property
    def clean(self) -> bool:
        """Whether everything was done, and the scan found nothing that is of the person alone."""
        return not (self.found or self.unfinished)


class _Content(msgspec.Struct, frozen=True):
    secret: bytes
    erased: tuple[Fingerprint, ...] = ()
    pending: tuple[Pending, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    version: int = _VERSION


class Erasures:
    """The file, for whoever erases; one at a time.

    :arg path: The file; made by the first erasure.
    :arg randomness: Returns so many random bytes.
    """

    def __init__(self, path: Path, randomness: Callable[[int], bytes] = os.urandom) -> None:
        self._path = path
        self._randomness = randomness

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other erasures out meanwhile.

        :raises StoreError: When one is under way.
        """
        try:
            lock = WriterLock(self._path.with_name(f"{self._path.name}.lock"), f"the file {self._path}")
        except StoreError as error:
            raise StoreError(error.detail, "wait until the other `headrace forget` has come to its end") from None
        try:
            yield
        finally:
            lock.close()

    def begin(self, pending: Pending) -> None:
        """Note the fingerprints of an erasure, and that it is under way."""
        content = self._read()
        if content is None:
            content = _Content(self._randomness(SECRET_BYTES))
        fingerprint = Fingerprints(content.secret).of(pending.erasure)
        others = (kept for kept in content.erased if kept.id != fingerprint.id)
        waiting = (kept for kept in content.pending if kept.erasure.id != fingerprint.id)
        self._replace(
            msgspec.structs.replace(content, erased=(*others, fingerprint), pending=(*waiting, pending)),
        )

    def finish(self, receipt: Receipt, *, keep: bool = False) -> None:
        """Note the receipt of an erasure; what it named is gone from the file then, unless it is to be kept."""
        content = self._read()
        if content is not None:
            receipts = (one for one in content.receipts if one.id != receipt.id)
            pending = tuple(one for one in content.pending if keep or one.erasure.id != receipt.id)
            self._replace(msgspec.structs.replace(content, receipts=(*receipts, receipt), pending=pending))

    def fingerprints(self) -> Fingerprints:
        """Return what tells who is erased."""
        content = self._read()
        return Fingerprints(b"") if content is None else Fingerprints(content.secret, content.erased)

    def pending(self) -> tuple[Pending, ...]:
        """Return the erasures that have not come to their end, oldest first."""
        content = self._read()
        return () if content is None else content.pending

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the receipts of those that have, oldest first."""
        content = self._read()
        return () if content is None else content.receipts

    def _read(self) -> _Content | None:
        return _content(self._path)

    def _replace(self, content: _Content) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f"{self._path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()  # left by a crash
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(content))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        _sync(self._path.parent)


class ErasedPeople:
    """Tells who is erased, at the price of a look at the file ten times a second. Threads may share it.

    :arg path: The file; without it, nobody is.
    :arg monotonic: Seconds that only ever grow.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._look_at = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._known = Fingerprints(b"")

    def fingerprints(self) -> Fingerprints:
        """Return what tells who is erased, as it was at most `LOOK_SECONDS` ago.

        :raises StoreError: When the file cannot be read: it is better to stop than to let an erased person in.
        """
        now = self._monotonic()
        if now < self._look_at:
            return self._known
        try:
            status = self._path.stat()
        except FileNotFoundError:
            pass  # whoever was known to be erased stays so while the flow runs
        else:
            seen = status.st_ino, status.st_mtime_ns, status.st_size
            if seen != self._seen:
                content = _content(self._path)
                if content is not None:
                    self._known, self._seen = Fingerprints(content.secret, content.erased), seen
        self._look_at = now + LOOK_SECONDS
        return self._known


def _content(path: Path) -> _Content | None:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        detail = f"{path} cannot be read: {error}"
        raise StoreError(detail, _HINT) from error
    if content.version != _VERSION:
        detail = f"{path} has layout {content.version}, this program reads {_VERSION}"
        raise StoreError(detail, "use the program that wrote it")
    return content


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
