"""Reading a folder: first whole, then whatever differs from what was last handed on.

Nothing is concluded from a hint, only from looking at the path once it has become quiet; so whatever the order, loss
or doubling of hints, what was handed on ends equal to what the folder holds. Everything happens in `turn`, which does
a bounded amount of work and never waits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from events.clock import Clock
from events.errors import RejectedError, StoreError
from stores.documents.batch import DocumentBatch, Known
from stores.documents.draft import Draft
from stores.documents.files import Kind, OutsideError, PassingError, Seen, examine
from stores.documents.intake import Intake
from stores.documents.ledger import Ledger
from stores.documents.missing import GRACE_MILLIS
from stores.documents.progress import Progress
from stores.documents.root import Presence, Root
from stores.documents.rules import MediaTypeOf, Rules
from stores.documents.scout import Requests, Scout
from stores.documents.watch import OpenWatch, open_watch
from stores.settings import FolderSettings, KnowledgeSettings

_LOOKS = 1_000
_ATTEMPTS = 50
_IMPATIENCE_MILLIS = 10_000
_QUIET_MILLIS = 2_000
_PAUSE = 5
_PAUSE_QUIET = 15

_log = logging.getLogger(__name__)


class FolderReader:
    """Reads one folder, a batch a turn.

    :arg folder: Settings of the folder.
    :arg settings: Limits and times.
    :arg known: What the store holds of it, by path.
    :arg media_type_of: Returns the media type for a path, None for what cannot be parsed.
    :arg position: Positions are counted on from here, or from the highest in `known`.
    :arg live: Whether to go on after the first scan.
    :arg heartbeat_millis: How often to say so while nothing happens.
    :arg requests: Asked ten times a second for paths that shall be handed on again though they are unchanged.
    :raises StoreError: When the folder is missing, is not a folder or cannot be listed.
    """

    def __init__(
        self,
        folder: FolderSettings,
        settings: KnowledgeSettings,
        known: Mapping[str, Known],
        *,
        media_type_of: MediaTypeOf,
        clock: Clock,
        position: int = 0,
        live: bool = True,
        heartbeat_millis: int = 5_000,
        requests: Requests | None = None,
        open_watch: OpenWatch = open_watch,
    ) -> None:
        self._clock = clock
        self._live = live
        now = clock()
        self._root = Root(folder.name, folder.path)
        self._rules = Rules(folder, media_type_of)
        self._ledger = Ledger(known)
        self._intake = Intake(folder.name, self._rules, self._ledger, settings.max_document_bytes)
        self._missing = self._intake.missing
        position = max([position, *(document.position for document in known.values())])
        newest = min(max((entry.mtime for entry in self._ledger.entries()), default=-1), now)
        self._progress = Progress(folder.name, position, newest if newest >= 0 else None, heartbeat_millis, now)
        self._scout = Scout(
            self._root,
            self._rules,
            self._intake,
            self._progress,
            settings,
            clock=clock,
            live=live,
            requests=requests,
            open_watch=open_watch,
        )
        self._agenda = self._scout.agenda
        self._read_at = now
        self._away = False
        self.finished = False

    @property
    def position(self) -> int:
        """The last position that was given to a change."""
        return self._progress.position

    @property
    def pause(self) -> int:
        """How long the next turn may wait (ms): not at all with work to do, a little longer where all is quiet."""
        if not self._away and (self._agenda.busy or self._scout.is_walking or not self._live):
            return 0
        quiet = self._read_at - self._progress.stirred_at > _QUIET_MILLIS
        return _PAUSE_QUIET if quiet and self._agenda.empty else _PAUSE

    def turn(self) -> DocumentBatch | None:
        """Do a bounded amount of work; return what came of it, if anything."""
        now = self._clock()
        draft = Draft()
        if self._is_present(now):
            self._read_at = now
            self._scout.scout(now)
            self._look_round(now, draft)
            self._give_up_missing(now, draft)
        return self._hand_over(now, draft)

    def close(self) -> None:
        """Stop watching. Closing twice does nothing."""
        self._scout.close()

    def _is_present(self, now: int) -> bool:
        presence = self._root.presence(expects_content=len(self._ledger) > 0)
        if presence is Presence.SAME and not self._away:
            return True
        if presence is Presence.AWAY:
            if not self._live:
                detail = f"folder {str(self._root.given)!r} has vanished while it was read"
                raise StoreError(detail, "bring it back and start again")
            if not self._away:
                _log.warning("folder %s has vanished: its documents stay; waiting until it is back", self._root.given)
                self._away = True
                self._start_over()
            return False
        _log.warning("folder %s is back, or another one in its place: reading it again", self._root.given)
        self._away = False
        self._start_over()
        self._root.accept()
        self._scout.reopen()
        self._progress.stir(now)
        return True

    def _start_over(self) -> None:
        self._missing.clear()
        self._scout.forget()

    def _look_round(self, now: int, draft: Draft) -> None:
        complaints = self._scout.complaints
        while complaints and not draft.full:
            directory, error = complaints.popleft()
            self._intake.reject(directory, error, None, now, draft)
        emptied: set[str] = set()
        for _ in range(_LOOKS):
            if draft.full:
                break
            if not self._live and not self._agenda.busy:
                self._agenda.hurry()
            path = self._agenda.take(now)
            if path is None:
                break
            if not self._look_at(path, now, draft, emptied):
                self._agenda.put_back(path)
                break
        for path in self._ledger.below(emptied):
            self._miss(path, now)

    def _look_at(self, path: str, now: int, draft: Draft, emptied: set[str]) -> bool:
        """Look at one path; return False if it must wait for the next batch. Directories without content are noted."""
        if not path:
            self._scout.want_walk()
            return True
        seen: Seen | None = None
        try:
            seen = examine(self._root.path, path)
            if seen.kind is Kind.FILE and self._rules.wants(path):
                if not self._intake.take(self._root.path, path, seen, now, draft):
                    return False
            else:
                self._look_at_no_document(path, seen, now)
        except PassingError as error:
            self._look_later(path, error, now, draft)
            return True
        except RejectedError as error:
            self._refuse(path, error, seen, now, draft)
        if (seen is None or seen.kind is not Kind.DIRECTORY or seen.link) and self._ledger.has_below(path):
            emptied.add(path)
        self._agenda.succeeded(path)
        if path not in self._missing:
            self._progress.settle(path)
        return True

    def _look_at_no_document(self, path: str, seen: Seen, now: int) -> None:
        if seen.kind is Kind.DIRECTORY and not seen.link and not self._rules.prunes(path):
            self._scout.walk_into(path, now)
        self._intake.forget(path, seen.real if seen.link and self._rules.wants(path) else None)
        self._miss(path, now)

    def _look_later(self, path: str, error: PassingError, now: int, draft: Draft) -> None:
        failures = self._agenda.retry(path, now)
        if self._live:
            self._progress.settle(path)
        elif failures >= _ATTEMPTS:
            self._agenda.drop(path)
            self._progress.settle(path)
            self._intake.reject(path, RejectedError(str(error), "start again when it is quiet"), None, now, draft)

    def _refuse(self, path: str, error: RejectedError, seen: Seen | None, now: int, draft: Draft) -> None:
        wanted = self._rules.wants(path) or path in self._ledger
        if isinstance(error, OutsideError):
            wanted |= error.directory and not self._rules.excludes(path)
            self._miss(path, now)  # what was read there is not there any more
        if wanted:
            self._intake.reject(path, error, None if seen is None else seen.look, now, draft)

    def _miss(self, path: str, now: int) -> None:
        """Note a known document as missing; one that went while nobody looked has had its time of grace."""
        self._intake.miss(path, now if self._progress.scanned else now - GRACE_MILLIS)

    def _give_up_missing(self, now: int, draft: Draft) -> None:
        if not self._missing or draft.full:
            return
        if not self._agenda.busy and not self._scout.is_walking:
            until = now - GRACE_MILLIS
        elif self._progress.scanned:
            until = now - _IMPATIENCE_MILLIS  # deletes do not wait for ever, be there ever so much to read
        else:
            return
        gone = [path for path in self._missing.ripe(until, draft.room) if self._is_gone(path)]
        # Asked last: where the folder itself has gone meanwhile, nothing in it counts as gone.
        if self._root.presence(expects_content=True) is Presence.SAME:
            for path in gone:
                self._intake.bury(path, now, draft)

    def _is_gone(self, path: str) -> bool:
        try:
            if not self._intake.is_there(self._root.path, path):
                return True
        except (PassingError, RejectedError):
            pass
        self._missing.remove(path)
        self._agenda.add([path])
        return False

    def _hand_over(self, now: int, draft: Draft) -> DocumentBatch | None:
        progress = self._progress
        for change in draft.deletes:
            progress.settle(change.uri)
        done = self._scout.is_done and not self._missing
        if done:
            progress.finish_scan()
        caught_up_at = self._scout.known_until if done and not self._away else None
        if not draft and not progress.is_due(now, caught_up_at):
            return None
        changes = draft.changes(progress.position + 1)
        progress.advance(change.event_time for change in changes)
        mark = progress.mark(now, self._read_at, caught_up_at)
        self.finished = not self._live and mark.caught_up
        return DocumentBatch(changes, draft.dead, mark)
