"""Finding out where to look: by walking the folder, by the hints of a watch, by request.

What is found ends on the agenda. A hint is checked only for whether it can matter at all, so that a busy file that is
no document neither costs anything nor keeps the folder from counting as quiet.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice

from events.clock import Clock
from events.errors import RejectedError
from stores.documents.agenda import Agenda
from stores.documents.files import PassingError
from stores.documents.intake import Intake
from stores.documents.progress import Progress
from stores.documents.root import Root
from stores.documents.rules import Rules
from stores.documents.tree import Found, Walk
from stores.documents.watch import OpenWatch, Watch
from stores.settings import KnowledgeSettings

Requests = Callable[[], Sequence[str]]
"""Returns paths that shall be handed on again though they are unchanged, each once."""

_ENTRIES = 2_000
_ASK_MILLIS = 100
_POLL_MILLIS = 2_000
_POLL_SHARE = 20

_log = logging.getLogger(__name__)


class Scout:
    """Keeps the agenda of one folder.

    :arg live: Whether to watch, and to walk again from time to time.
    """

    def __init__(
        self,
        root: Root,
        rules: Rules,
        intake: Intake,
        progress: Progress,
        settings: KnowledgeSettings,
        *,
        clock: Clock,
        live: bool,
        requests: Requests | None,
        open_watch: OpenWatch,
    ) -> None:
        self.agenda = Agenda(settings.debounce_millis, self._is_known)
        self.complaints: deque[tuple[str, RejectedError]] = deque()
        self._root = root
        self._rules = rules
        self._intake = intake
        self._ledger = intake.ledger
        self._progress = progress
        self._rescan_millis = int(settings.rescan_seconds * 1000)
        self._clock = clock
        self._live = live
        self._requests = requests
        self._open_watch = open_watch
        self._watch: Watch | None = open_watch(root.path, clock) if live else None
        self._problem = ""
        self._walks: deque[Walk] = deque()
        self._whole: Walk | None = None
        self._whole_wanted = True
        self._walked: int | None = None
        self._next_walk = 0
        self._next_ask = 0
        self._told_skipped = False

    @property
    def is_walking(self) -> bool:
        """Whether a walk is under way or about to begin."""
        return bool(self._walks) or self._whole_wanted

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to look at, now or later."""
        return self.agenda.empty and not self.is_walking and not self.complaints

    @property
    def known_until(self) -> int | None:
        """Until when (ms since epoch) everything that happened has reached the agenda; None: not yet at all."""
        if self._watch is None or self._problem:
            return self._walked
        return self._watch.heard_until

    def scout(self, now: int) -> None:
        """Do a bounded amount of finding out."""
        self._hear(now)
        self._ask(now)
        self._walk(now)

    def want_walk(self) -> None:
        """Walk the whole folder as soon as possible."""
        self._whole_wanted = True

    def walk_into(self, directory: str, now: int) -> Walk:
        """Walk one directory and everything below it."""
        announce = _unannounced if self._watch is None else self._watch.add
        walk = Walk(self._root.path, directory, self._rules, announce, now)
        self._walks.append(walk)
        return walk

    def forget(self) -> None:
        """Drop all that was found: the next thing to do is a whole walk."""
        self.agenda.clear()
        self.complaints.clear()
        self._walks.clear()
        self._whole = None
        self._whole_wanted = True
        self._progress.restart()

    def reopen(self) -> None:
        """Watch what is at the root from here on."""
        if self._watch is not None:
            self._watch.close()
            self._watch = self._open_watch(self._root.path, self._clock)

    def close(self) -> None:
        """Stop watching. Closing twice does nothing."""
        if self._watch is not None:
            self._watch.close()

    def _is_known(self, path: str) -> bool:
        return path in self._ledger or self._ledger.has_below(path)

    def _is_there(self, path: str) -> bool:
        return os.path.lexists(os.path.join(self._root.path, path))

    def _hear(self, now: int) -> None:
        if self._watch is None:
            return
        news = self._watch.take()
        self._whole_wanted |= news.lost
        settled = news.settled
        if settled and any(self._is_known(path) and not self._is_there(path) for path in news.paths):
            # Perhaps a rename: both of its paths shall come up together.
            settled = frozenset()
        for path in news.paths:
            self._hint(path, now, settled=path in settled)
        problem = self._watch.problem
        if problem != self._problem:
            self._problem = problem
            self._whole_wanted = True
            if problem:
                _log.warning("folder %s is looked through again and again: %s", self._root.given, problem)

    def _hint(self, path: str, now: int, *, settled: bool) -> None:
        """Note what may be a document, a directory, or on the way of a link to a document; all else changes nothing."""
        try:
            mode = os.lstat(os.path.join(self._root.path, path)).st_mode
        except OSError:
            mode = 0
        touched = self._ledger.links(None if stat.S_ISLNK(mode) else path)
        telling = stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
        if self._is_known(path) or (not self._rules.excludes(path) and (telling or self._rules.wants(path))):
            touched.append(path)
        for each in touched:
            self.agenda.note(each, now, settled=settled)
            self._progress.stir(now)

    def _ask(self, now: int) -> None:
        if self._requests is None or now < self._next_ask:
            return
        self._next_ask = now + _ASK_MILLIS
        for request in self._requests():
            path = request.rstrip("/")
            if "\0" not in path and not {"", ".", ".."} & set(path.split("/")) and not self._rules.excludes(path):
                self._intake.force(request)
                self.agenda.add([path])
                self._progress.stir(now)

    def _walk(self, now: int) -> None:
        if self._whole is None and (self._whole_wanted or (self._live and now >= self._next_walk)):
            self._whole_wanted = False
            self._whole = self.walk_into("", now)
        entries = _ENTRIES
        while self._walks and entries > 0:
            walk = self._walks[0]
            met = list(islice(walk, entries))
            for found in met:
                if found is not None:
                    self._meet(walk, found, now)
            if len(met) < entries:
                self._walks.popleft()
                self._finish(walk, now)
            entries -= len(met) + 1

    def _meet(self, walk: Walk, found: Found, now: int) -> None:
        if isinstance(found.error, PassingError):
            self.agenda.retry(found.path.rstrip("/"), now)
        elif found.error is not None:
            self.complaints.append((found.path, found.error))
        else:
            walk.seen.add(found.path)
            if found.look is None or not self._intake.recognises(found.path, found.look):
                walk.changed.append(found.path)

    def _finish(self, walk: Walk, now: int) -> None:
        gone: list[str] = []
        if not walk.start or self._ledger.has_below(walk.start):
            gone = sorted(path for path in self._ledger if walk.misses(path))
        changed = sorted(walk.changed)
        self.agenda.add(gone)  # first, so that a renamed document is missed before it is found
        self.agenda.add(changed)
        if gone or changed:
            self._progress.stir(now)
        if walk is not self._whole:
            return
        self._whole = None
        self._walked = walk.began
        pause = self._rescan_millis
        if self._problem:
            pause = min(pause, max(_POLL_MILLIS, _POLL_SHARE * (now - walk.began)))
        self._next_walk = now + pause
        if not self._progress.scanned:
            self._progress.begin([*gone, *changed])
            self._tell_skipped(walk.skipped)

    def _tell_skipped(self, skipped: Counter[str]) -> None:
        if not skipped or self._told_skipped:
            return
        self._told_skipped = True
        count = sum(skipped.values())
        by_count = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{kind} ({number})" for kind, number in by_count)
        files = "file" if count == 1 else "files"
        _log.info("folder %s: skipped %d %s of types not included: %s", self._root.given, count, files, kinds)


def _unannounced(_: str) -> None:
    """Stand in for a watch where there is none."""
