"""How far readers are, told to consumer groups, so that tools for Kafka can show it. Nothing depends on it.

Committed beside the reading, once a second at most, the newest places only; what fails is tried again with the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from events.errors import HeadraceError
from stores.log.kafka.client import Client

_PAUSE_SECONDS = 1.0
_CLOSE_SECONDS = 1.0
_logger = logging.getLogger(__name__)

Places = dict[tuple[str, int], int]


class Mirror:
    """Commits places to consumer groups.

    :arg client: Returns the client to commit by; called for each commit.
    """

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._waiting: dict[str, Places] = {}
        self._told: dict[str, Places] = {}
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._complained = False
        self._given_up = threading.Event()

    def note(self, group: str, places: Mapping[tuple[str, int], int]) -> None:
        """Take down places, for the next commit; those that the group has been told already are left out."""
        with self._lock:
            told = self._told.get(group, {})
            changed = {name: offset for name, offset in places.items() if told.get(name) != offset}
            if not changed:
                return
            self._waiting.setdefault(group, {}).update(changed)
            if self._thread is None:
                self._closing, self._given_up = threading.Event(), threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._closing, self._given_up), name="headrace-kafka-mirror", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Commit what waits, if that takes no more than a moment, and stop."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._closing.set()
        if thread is not None:
            thread.join(_CLOSE_SECONDS)
        self._given_up.set()

    def _run(self, closing: threading.Event, given_up: threading.Event) -> None:
        while not closing.is_set():
            self._commit(given_up)
            closing.wait(_PAUSE_SECONDS)
        self._commit(given_up)

    def _commit(self, given_up: threading.Event) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for group, places in waiting.items():
            if given_up.is_set():
                return
            try:
                self._client().commit(group, places)
            except Exception as error:  # without this thread nothing would ever be shown again
                self._keep(group, places)
                if not self._complained and not given_up.is_set():
                    self._complained = True
                    told = str(error) if isinstance(error, HeadraceError) else repr(error)
                    _logger.warning("offsets are not shown by consumer group %s: %s", group, told)
            else:
                self._complained = False
                with self._lock:
                    self._told.setdefault(group, {}).update(places)

    def _keep(self, group: str, places: Places) -> None:
        with self._lock:
            self._waiting[group] = {**places, **self._waiting.get(group, {})}
