"""Connections to a captured PostgreSQL, made in a thread: a host that says nothing, a slot that waits hold up nobody.

Invariant: what was made is either handed over or closed. One who abandons it does not have to wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stores.capture.finding import Finding
from stores.capture.postgres import checks
from stores.capture.postgres.catalog import PostgresCatalog
from stores.capture.postgres.opening import Ends, Opened, open_place
from stores.capture.postgres.place import PostgresPlace
from stores.capture.postgres.replication import Replication
from stores.capture.postgres.session import Session, connect
from stores.capture_settings import PostgresTapSettings

_LAST_SECONDS = 1.0


class Link(NamedTuple):
    """The connections of one life, and what was found by them."""

    ends: Ends
    catalog: PostgresCatalog
    opened: Opened

    @property
    def session(self) -> Session:
        """The connection for statements."""
        return self.ends.session

    def close(self) -> None:
        """End both connections. Closing twice does nothing."""
        self.ends.replication.close()
        self.ends.session.close()


class Connecting:
    """One try to connect and to open a place, which goes on until it has ended or is abandoned."""

    def __init__(self, settings: PostgresTapSettings, place: PostgresPlace | None) -> None:
        self._settings = settings
        self._place = place
        self._lock = threading.Lock()
        self._unwanted = threading.Event()
        self._ended = threading.Event()
        self._link: Link | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"capture {settings.name}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; tell whether it has come."""
        return self._ended.wait(seconds)

    def take(self) -> Link:
        """Return what was made, once it has ended.

        :raises LostError: When the server is away, or something is in the way that goes by itself.
        :raises StoreError: When the server refuses, or no longer has what comes next.
        """
        with self._lock:
            link, self._link = self._link, None
        if link is None:
            raise self._error or RuntimeError("taken before it has ended, or twice")
        return link

    def abandon(self) -> None:
        """Let go of it. Abandoning what was taken does nothing."""
        self._unwanted.set()
        self._thread.join(_LAST_SECONDS)
        self._drop()

    def _run(self) -> None:
        try:
            link = _link(self._settings, self._place, self._unwanted.is_set)
        except Exception as error:
            self._error = error
        else:
            with self._lock:
                self._link = link
            if self._unwanted.is_set():
                self._drop()
        finally:
            self._ended.set()

    def _drop(self) -> None:
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()


def _link(settings: PostgresTapSettings, place: PostgresPlace | None, unwanted: Callable[[], bool]) -> Link:
    session = connect(settings)
    try:
        warnings: Sequence[Finding] = checks.raise_errors(settings, checks.check_server(settings, session))
        replication = Replication(settings)
    except BaseException:
        session.close()
        raise
    try:
        ends = Ends(settings, session, replication, unwanted)
        opened = open_place(ends, place)
    except BaseException:
        replication.close()
        session.close()
        raise
    opened = opened._replace(warnings=[*warnings, *opened.warnings])
    return Link(ends, PostgresCatalog(settings, session), opened)
