"""The tap of a bucket of documents: notifications in an SQS queue say which objects to look at.

Invariant: a message is removed from the queue only after everything that came of it, and the place behind it, are safe.
The network is the business of one thread, so that whoever draws never waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

import msgspec
from typing_extensions import override

from events.clock import Clock
from events.errors import StoreError
from events.log import LogRecord
from stores.aws import open_client
from stores.capture.base import Drawn, Tap
from stores.capture.s3_looks import MOST_BYTES, Look, Looks, Reading
from stores.capture.s3_objects import Objects, PassingError
from stores.capture.s3_place import read_place
from stores.capture.s3_queue import Queue
from stores.capture_settings import S3TapSettings

MOST_OBJECT_BYTES = 40 * 2**20
"""Larger objects are not fetched, whatever the settings say: as an event they would be too long for the log."""

_AROUND_BYTES = 16 * 2**10
_DRAW_SECONDS = 0.02
_CLOSE_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_MOST_LOOKS = 64
_logger = logging.getLogger(__name__)


class S3Tap(Tap):
    """One bucket.

    :arg place: Where it was left; None at the very first time: then what is in the bucket is read first, if the
        settings say so.
    :arg reading: What is known elsewhere of notifications and names.
    :arg most_bytes: Longest event that the log takes; objects that would become longer ones are not fetched either.
    :arg wait_seconds: How long one request waits for a notification; closing takes about as long.
    :raises StoreError: When bucket or queue cannot be reached, or refuse.
    :raises MissingExtraError: When boto3 is not installed.
    """

    def __init__(
        self,
        settings: S3TapSettings,
        place: Any,
        clock: Clock,
        reading: Reading,
        *,
        most_bytes: int | None = None,
        wait_seconds: int = 1,
    ) -> None:
        begin = read_place(place, settings)
        storage = settings.s3_endpoint or settings.endpoint
        # The queue is asked by the thread, and at the end by whoever closes.
        self._clients = [
            open_client("s3", region=settings.region, endpoint=storage),
            open_client("sqs", region=settings.region, endpoint=settings.endpoint),
        ]
        try:
            objects = Objects(self._clients[0], settings.bucket, storage, _limit(settings, most_bytes))
            self._queue = Queue(self._clients[1], settings.queue, settings.endpoint)
            self._looks = Looks(settings, self._queue, objects, begin, reading=reading, clock=clock)
            self._looks.check()
        except BaseException:
            self._close_clients()
            raise
        self._settings = settings
        self._name = settings.name
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._ready: deque[Look] = deque()
        self._held: deque[Look] = deque()
        self._safe = begin.looks
        self._fault: StoreError | None = None
        self._closing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"tap-{settings.name}", daemon=True)
        self._thread.start()

    @override
    def draw(self, limit: int) -> Drawn | None:
        taken: list[Look] = []
        count = size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._fault is not None, _DRAW_SECONDS)
            while self._ready and count < limit and size < MOST_BYTES:
                look = self._ready.popleft()
                taken.append(look)
                count, size = count + len(look.records), size + look.size
            self._changed.notify_all()
            if not taken:
                if self._fault is not None:
                    raise self._fault
                return None
        last = taken[-1]
        records: tuple[LogRecord, ...] = tuple(record for look in taken for record in look.records)
        scanned = 0 if last.place.scan is None else last.place.scanned
        return Drawn(
            records,
            msgspec.to_builtins(last.place),
            last.event_time,
            last.caught_up,
            done=scanned,
            true_at=last.place.empty,
        )

    @override
    def confirm(self, place: Any) -> None:
        with self._changed:
            self._safe = max(self._safe, read_place(place, self._settings).looks)

    @override
    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            return  # hanging in the network: what it holds comes again by itself
        try:
            self._remove_safe()
            self._queue.hand_back()
        except (PassingError, StoreError) as error:
            _logger.warning("%s: messages will come again: %s", self._name, error)
        self._close_clients()

    def _run(self) -> None:
        pause = 0.0
        while self._has_room(pause):
            try:
                self._remove_safe()
                look = self._looks.look(self._wait_seconds)
                pause = 0.0
            except PassingError as error:
                pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                _logger.warning("%s: %s; trying again in %.1f s", self._name, error.error.detail, pause)
                continue
            except StoreError as error:
                self._stop(error)
                return
            except Exception as error:
                _logger.exception("%s: the tap failed in a way that was not foreseen", self._name)
                detail = f"{self._name}: unexpected {type(error).__name__}: {error}"
                self._stop(StoreError(detail, "see the traceback in the program's log"))
                return
            if look is not None:
                with self._changed:
                    self._ready.append(look)
                    if look.messages:
                        self._held.append(look)
                    self._changed.notify_all()

    def _has_room(self, pause: float) -> bool:
        """Wait for `pause` seconds, and until there is room for another look; False once the tap is to close."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, pause)
            self._changed.wait_for(lambda: self._closing or self._may_look())
            return not self._closing

    def _may_look(self) -> bool:
        return len(self._ready) < _MOST_LOOKS and sum(look.size for look in self._ready) < MOST_BYTES

    def _stop(self, error: StoreError) -> None:
        with self._changed:
            self._fault = error
            self._changed.notify_all()

    def _remove_safe(self) -> None:
        while self._held and self._held[0].place.looks <= self._safe:
            self._queue.remove(self._held[0].messages)
            self._held.popleft()

    def _close_clients(self) -> None:
        for client in self._clients:
            client.close()


def _limit(settings: S3TapSettings, most_bytes: int | None) -> int:
    """Return how large an object may be, so that its event still fits: in base64, and with what is said beside it."""
    limit = min(settings.max_object_bytes, MOST_OBJECT_BYTES)
    return limit if most_bytes is None else max(1, min(limit, (most_bytes - _AROUND_BYTES) * 3 // 4))
