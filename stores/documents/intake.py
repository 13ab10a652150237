"""Turning files into changes.

A file is handed on only if its content, or what the rules say of it, differs from what was handed on before. Whatever
cannot be handed on becomes a dead letter, once for each state of the file.
"""

from __future__ import annotations

from events.dead_letters import DeadLetter
from events.documents import DocumentChange
from events.errors import RejectedError
from events.log import LogRecord
from stores.documents.draft import Draft
from stores.documents.files import (
    RACY_MILLIS,
    Fingerprint,
    Kind,
    Look,
    OutsideError,
    PassingError,
    Seen,
    digest,
    examine,
    read,
    too_large,
)
from stores.documents.ledger import Entry, Ledger
from stores.documents.missing import Missing
from stores.documents.rules import Rules
from stores.documents.tree import check_name, shown

FLOW = "knowledge"
STEP = "folders"


class Intake:
    """Knows what was handed on, and decides what is to be.

    :arg name: Name of the folder.
    :arg limit: Largest document that is read, in bytes.
    """

    def __init__(self, name: str, rules: Rules, ledger: Ledger, limit: int) -> None:
        self.ledger = ledger
        self.missing = Missing()
        self._name = name
        self._rules = rules
        self._limit = limit
        self._rejected: dict[str, tuple[str, Look | None]] = {}
        self._forced: set[str] = set()

    def force(self, path: str) -> None:
        """Hand on `path` at its next turn even if it is unchanged, or say again what is wrong with it."""
        self._forced.add(path)
        self._rejected.pop(path, None)

    def recognises(self, path: str, look: Look) -> bool:
        """Return whether a file at `path` in state `look` was handed on, and remember the state if it was."""
        entry = self.ledger.get(path)
        if entry is None or path in self.missing or path in self._rejected or path in self._forced:
            return False
        if not entry.is_current(look, self._rules.mark(path)):
            return False
        entry.look = look
        return True

    def take(self, root: str, path: str, seen: Seen, now: int, draft: Draft) -> bool:
        """Hand on the file at `path` if it differs. Return False if it must wait for the next batch.

        :raises RejectedError: When it cannot be handed on, at least not in its present state.
        :raises PassingError: When it cannot be read at this moment.
        """
        check_name(path)
        look = seen.look
        if look is None:
            message = f"{seen.kind} is read as a file"
            raise TypeError(message)
        self.missing.remove(path)
        self.ledger.link(path, seen.real if seen.link else None)
        entry = self.ledger.get(path)
        mark = self._rules.mark(path)
        forced = path in self._forced
        if entry is not None and not forced and entry.is_current(look, mark):
            entry.look = look
            self._rejected.pop(path, None)
            return True
        if look.size > self._limit:
            raise too_large(look.size, self._limit)
        if draft.is_crowded(look.size):
            return False
        content, look = read(root, seen.real, self._limit)
        draft.bytes_read += len(content)
        self._rejected.pop(path, None)
        self._forced.discard(path)
        racy = now - look.mtime < RACY_MILLIS
        fingerprint = Fingerprint(look.size, -1 if racy else look.mtime_ns, digest(content), mark)
        current = Entry(fingerprint, look, racy)
        moved = "" if entry is not None else self._recognise(root, path, current, now, draft)
        unchanged = entry is not None and entry.content == current.content and entry.fingerprint.rules == mark
        self.ledger.put(path, current)
        if forced or not unchanged:
            draft.upserts.append(self._upsert(path, fingerprint, content, moved=moved, event_time=min(look.mtime, now)))
        return True

    def miss(self, path: str, since: int) -> None:
        """Note that the known document at `path` is not there."""
        entry = self.ledger.get(path)
        if entry is not None:
            self.missing.add(path, entry.content, since)

    def forget(self, path: str, target: str | None = None) -> None:
        """Note that there is no document at `path`, though maybe a link to where one may appear."""
        self._rejected.pop(path, None)
        self._forced.discard(path)
        self.ledger.link(path, target)

    def bury(self, path: str, now: int, draft: Draft, moved: str = "") -> None:
        """Hand on that the document at `path` is gone."""
        self.missing.remove(path)
        self._rejected.pop(path, None)
        self.ledger.remove(path)
        draft.deletes.append(
            DocumentChange(
                source=self._name,
                uri=path,
                op="delete",
                position=0,
                event_time=now,
                audience=self._rules.audience(path),
                moved=moved,
            )
        )

    def is_there(self, root: str, path: str) -> bool:
        """Return whether there is a document at `path`.

        :raises RejectedError: When the system does not let us look.
        :raises PassingError: When it cannot at this moment.
        """
        try:
            return self._rules.wants(path) and examine(root, path).kind is Kind.FILE
        except OutsideError:
            return False

    def reject(self, path: str, error: RejectedError, look: Look | None, now: int, draft: Draft) -> None:
        """Hand on a dead letter, unless that was done for the same reason and the same state of the file.

        A document that was handed on before is withdrawn: its old text is not true any more.
        """
        told = (str(error), look)
        self._forced.discard(path)
        if self._rejected.get(path) == told:
            return
        if path in self.ledger:
            self.bury(path, now, draft)
        self._rejected[path] = told
        record = LogRecord(
            stream=self._name,
            partition=0,
            offset=0,
            event_time=now if look is None else min(look.mtime, now),
            key=shown(path).encode(),
        )
        draft.dead.append(DeadLetter(FLOW, STEP, str(error), record))

    def _recognise(self, root: str, path: str, current: Entry, now: int, draft: Draft) -> str:
        """Return the former path of the document that is new at `path`, if it was renamed; that one is buried."""
        former = self.missing.twin(path, current.content)
        if former is None:
            return ""
        try:
            if self.is_there(root, former):
                return ""
        except (PassingError, RejectedError):
            return ""
        self.bury(former, now, draft, moved=path)
        return former

    def _upsert(
        self, path: str, fingerprint: Fingerprint, content: bytes, *, moved: str, event_time: int
    ) -> DocumentChange:
        return DocumentChange(
            source=self._name,
            uri=path,
            op="upsert",
            position=0,
            event_time=event_time,
            content=content,
            media_type=self._rules.media_type(path),
            audience=self._rules.audience(path),
            fingerprint=str(fingerprint),
            moved=moved,
        )
