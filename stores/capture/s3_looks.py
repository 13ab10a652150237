"""From notifications to document events: a notification says which object to look at, the bucket says what is true.

Invariant: an object is read after the notification of it has come, by one reader, and positions grow with the reads. So
whatever the order of notifications, and however often they come, the event with the highest position says what the
bucket held last; a scan may run beside them. What is remembered of objects only saves reads and repeats.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from events.clock import Clock
from events.errors import RejectedError, StoreError
from events.log import LogRecord
from events.objects import ObjectEvent
from stores.capture.s3_documents import Documents
from stores.capture.s3_objects import Found, Objects, PassingError, State, Unfit
from stores.capture.s3_place import Place
from stores.capture.s3_queue import VISIBILITY_SECONDS, Message, Queue
from stores.capture_settings import S3TapSettings

MOST_BYTES = 32 * 2**20
"""Size of documents from which on no more are put into one look."""

_SCANNED_AT_ONCE = 20
_REMEMBERED = 100_000
_MOST_TOLD = 100
_IDLE_MILLIS = 500
_GENERIC = ("", "binary/octet-stream", "application/octet-stream", "application/x-www-form-urlencoded")
_logger = logging.getLogger(__name__)


class Reading(NamedTuple):
    """What is known of notifications and names elsewhere.

    :arg events: Reads the body of a message; raises RejectedError where it is no notification.
    :arg is_older: Tells whether the first of two sequencers surely is not newer than the second.
    :arg media_type_of: Tells the media type that a name stands for, None if for none that is read.
    """

    events: Callable[[str], Sequence[ObjectEvent]]
    is_older: Callable[[str, str], bool]
    media_type_of: Callable[[str], str | None]


class Look(NamedTuple):
    """What one look has found, and the messages that are answered with it."""

    records: tuple[LogRecord, ...]
    messages: tuple[str, ...]
    place: Place
    event_time: int | None
    caught_up: bool
    size: int


class _Known(NamedTuple):
    """What was handed on of an object last; without a state it was gone, or could not be told."""

    state: State | None
    gone: bool
    sequencer: str


class _Draft:
    """A look in the making: messages and objects of the scan enter it one by one, each whole or not at all."""

    def __init__(self, place: Place) -> None:
        self.scan = place.scan
        self.scanned = place.scanned
        self.records: list[LogRecord] = []
        self.messages: list[str] = []
        self.size = 0

    def add(self, records: Sequence[LogRecord]) -> None:
        self.records += records
        self.size += sum(len(record.value or b"") for record in records)


class Looks:
    """Looks at the queue and the bucket in turn.

    :arg place: Where to go on from.
    """

    def __init__(
        self, settings: S3TapSettings, queue: Queue, objects: Objects, place: Place, *, reading: Reading, clock: Clock
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._objects = objects
        self._place = place
        self._reading = reading
        self._clock = clock
        self._documents = Documents(settings.target, settings.bucket, settings.audience)
        self._inbox: deque[Message] = deque()
        self._page: deque[str] = deque()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._event_time: int | None = None
        self._position = place.position
        self._looked = place.looked
        # What was received by who came before may be hidden for so long.
        self._hidden_until = 0 if place.looked is None else clock() + VISIBILITY_SECONDS * 1000
        self._idle_at: int | None = None
        self._told: set[str] = set()

    def check(self) -> None:
        """See that bucket and queue can be read.

        :raises StoreError: When one of them cannot.
        """
        try:
            self._objects.check(self._settings.object_prefix)
            self._close_gap()
            self._receive(0)
        except PassingError as error:
            raise error.error from error

    def look(self, seconds: int) -> Look | None:
        """Return what there is; waits so long for a notification. None if there is nothing.

        :raises PassingError: When the bucket or the queue cannot be reached for now. Nothing is lost by it.
        :raises StoreError: When they refuse, or the queue has let go of what was not read.
        """
        began = self._clock()
        self._close_gap()
        draft = _Draft(self._place)
        if not self._inbox:
            self._receive(seconds if draft.scan is None else 0)
        try:
            self._take_messages(draft)
            self._take_scanned(draft)
        except PassingError:
            if not draft.messages and draft.scan == self._place.scan:
                raise
        if not draft.messages and draft.scan == self._place.scan:
            return self._idle(began)
        self._idle_at = None
        self._place = msgspec.structs.replace(
            self._place,
            looks=self._place.looks + 1,
            position=self._position,
            scan=draft.scan,
            scanned=draft.scanned,
            looked=self._looked,
        )
        return Look(
            tuple(draft.records), tuple(draft.messages), self._place, self._event_time, caught_up=False, size=draft.size
        )

    def _receive(self, seconds: int) -> None:
        began = self._clock()
        self._inbox.extend(self._queue.receive(seconds))
        self._looked = began

    def _close_gap(self) -> None:
        """List the bucket again if messages may have gone that nobody has read: the queue keeps them for days only.

        :raises StoreError: When it is not to be listed.
        """
        if self._looked is None or self._clock() - self._looked <= self._queue.retention():
            return
        self._looked = None
        detail = f"{self._settings.name}: the queue may have let go of notifications that nobody has read"
        remedy = "remove from the index what the bucket does not have any more: deletes may be among them"
        if not self._settings.scan:
            raise StoreError(
                detail,
                f"`headrace capture reset {self._settings.name}` goes on without them, scan = true lists the bucket",
            )
        _logger.warning("%s; the bucket is listed again (%s)", detail, remedy)
        self._page.clear()
        self._place = msgspec.structs.replace(self._place, scan="", scanned=0)

    def _idle(self, began: int) -> Look | None:
        """Say every second that there was nothing more when it was looked."""
        if self._idle_at is not None and 0 <= began - self._idle_at < _IDLE_MILLIS:
            return None
        self._idle_at = began
        empty = self._place.empty if began < self._hidden_until else began
        self._place = msgspec.structs.replace(self._place, looked=self._looked, empty=empty)
        return Look((), (), self._place, self._event_time, caught_up=True, size=0)

    def _take_messages(self, draft: _Draft) -> None:
        while self._inbox and draft.size < MOST_BYTES:
            message = self._inbox[0]
            draft.add(self._answer(message))
            draft.messages.append(message.id)
            self._inbox.popleft()

    def _take_scanned(self, draft: _Draft) -> None:
        for _ in range(_SCANNED_AT_ONCE):
            if draft.scan is None or draft.size >= MOST_BYTES:
                return
            if not self._page:
                self._page.extend(self._objects.keys(self._settings.object_prefix, draft.scan))
            if not self._page:
                draft.scan = None
                return
            key = self._page[0]
            met: dict[str, _Known] = {}
            draft.add(self._seen(key, None, met))
            self._remember(met)
            draft.scan = self._page.popleft()
            draft.scanned += 1

    def _answer(self, message: Message) -> list[LogRecord]:
        try:
            events = self._reading.events(message.body)
        except RejectedError as error:
            _logger.warning("a message in the queue is no notification: %s", error.detail)
            return [self._documents.poison(message.body, self._clock(), str(error))]
        met: dict[str, _Known] = {}
        records = [record for event in events if self._is_ours(event) for record in self._seen(event.key, event, met)]
        self._remember(met)
        return records

    def _is_ours(self, event: ObjectEvent) -> bool:
        if event.bucket != self._settings.bucket:
            self._tell(f"bucket {event.bucket[:100]!r}", "notifications of the %s are passed over")
            return False
        return event.key.startswith(self._settings.object_prefix)

    def _seen(self, key: str, event: ObjectEvent | None, met: dict[str, _Known]) -> Sequence[LogRecord]:
        """Look at an object; what was seen of it goes into `met`, which is valid once all of it has been handed on."""
        if not self._is_document(key):
            return ()
        known = met.get(key) or self._known.get(key)
        sequencer = event.sequencer if event is not None else ""
        if known is not None and self._reading.is_older(sequencer, known.sequencer):
            return ()
        found = self._objects.get(key, None if known is None else known.state)
        state = None if found is None else found.state
        met[key] = _Known(state, found is None, sequencer or ("" if known is None else known.sequencer))
        at = self._moment(event, state)
        if found is None:
            heard = event is not None if known is None else not known.gone
            return (self._documents.delete(key, self._next_position(), at),) if heard else ()
        if isinstance(found, Unfit):
            return self._documents.unfit(key, self._next_position(), at, found.reason)
        return self._document(key, found, at)

    def _document(self, key: str, found: Found, at: int) -> Sequence[LogRecord]:
        if found.content is None:
            return ()
        media_type = ""
        if self._reading.media_type_of(key) is None:
            media_type = found.state.media_type
            if media_type.partition(";")[0].strip().lower() in _GENERIC:
                self._tell("no ending and no Content-Type", "objects with %s are no documents: passed over")
                return ()
        return (
            self._documents.upsert(
                key, self._next_position(), at, found.content, media_type=media_type, version=found.state.version
            ),
        )

    def _is_document(self, key: str) -> bool:
        if key.endswith("/"):
            return False  # stands for a folder
        ending = PurePosixPath(key).suffix.lower()
        if self._reading.media_type_of(key) is not None or not ending:
            return True
        self._tell(f"ending {ending[:20]!r}", "objects with the %s are no documents: passed over")
        return False

    def _tell(self, what: str, message: str) -> None:
        if what not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(what)
            _logger.warning(f"%s: {message}", self._settings.name, what)

    def _moment(self, event: ObjectEvent | None, state: State | None) -> int:
        """Return when what was seen has come about, as far as that is known; never a moment that has not been."""
        now = self._clock()
        said = event.time if event is not None else None
        moments = [moment for moment in (said, None if state is None else state.modified) if moment is not None]
        at = min(max(0, *moments), now) if moments else now
        self._event_time = at if self._event_time is None else max(at, self._event_time)
        return at

    def _next_position(self) -> int:
        """Return a position above all before, also above those of a run whose place was lost: it follows the clock."""
        self._position = max(self._position + 1, self._clock() * 1000)
        return self._position

    def _remember(self, met: dict[str, _Known]) -> None:
        for key, known in met.items():
            self._known[key] = known
            self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
