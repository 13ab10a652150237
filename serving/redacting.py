"""What is taken out of the log and the dead letters when a person is erased, and what is left to others.

What is of the person goes whole. Where somebody else's event only names the person, as an old address in it, the name
goes and the event stays: a log that is read again must bring everybody else back as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from events.changes import Change
from events.dead_letters import DeadLetter
from events.erasure import ERASED
from events.feedback import FeedbackEvent, Point
from events.log import LogRecord
from serving.conversations import SpeechReading
from serving.pruning import without
from serving.trails import Belonging, ChangeReading
from stores.scan import ways

SHORTEST = 6
"""Characters of the shortest text by which something is taken out: shorter ones stand for other things too often."""

_WORD = rb"0-9A-Za-z\x80-\xff"
_ESCAPES = rb"(?<=\\[bfnrt])"  # such as a line's end in JSON, whose letter belongs to no word
_MOST = 500


class Naming:
    """Finds texts that name a person, as words of their own, however JSON escapes them."""

    def __init__(self, texts: Iterable[str]) -> None:
        written = sorted(
            {way for text in texts if len(text) >= SHORTEST for way in ways(text)},
            key=lambda way: (-len(way), way),
        )
        # Very long alternations are slow to compile: several of them are not.
        self._patterns = [_pattern(written[at : at + _MOST]) for at in range(0, len(written), _MOST)]

    def in_(self, data: bytes | None) -> bool:
        """Tell whether one of the texts stands in `data`."""
        return data is not None and any(pattern.search(data) for pattern in self._patterns)

    def out_of(self, data: bytes) -> bytes:
        """Return `data` with stars in their place; where that would break JSON, with ones for digits."""
        starred = self._replaced(data, digit=b"*")
        if starred != data and _is_json(data) and not _is_json(starred):
            return self._replaced(data, digit=b"1")
        return starred

    def _replaced(self, data: bytes, digit: bytes) -> bytes:
        def stars(match: re.Match[bytes]) -> bytes:
            return b"".join(digit if byte in b"0123456789" else b"*" for byte in match[0])

        for pattern in self._patterns:
            data = pattern.sub(stars, data)
        return data


class Redactor:
    """Judges records of the log, for `Log.redact`.

    :arg records: Keys of the person's records and activities.
    :arg telling: Texts that name the person and nobody else.
    :arg at: When the erasure was asked for (ms since epoch): later events that name the person are somebody else's.
    :arg shared: Streams whose events are of nobody, such as documents: they only lose the name.
    :arg speech: Reads streams of conversations.
    :arg conversations: Ids of the person's conversations.
    """

    def __init__(
        self,
        reading: ChangeReading,
        belonging: Belonging,
        *,
        records: Iterable[str],
        telling: Iterable[str],
        at: int,
        shared: Iterable[str] = (),
        speech: SpeechReading | None = None,
        conversations: Iterable[str] = (),
    ) -> None:
        self._speech = speech
        self._conversations = frozenset(conversations)
        self._mentioning = Naming(self._conversations)
        self._reading = reading
        self._belonging = belonging
        self._records = frozenset(records)
        self._naming = Naming(telling)
        self._at = at
        self._shared = frozenset(shared)
        self._keys: set[tuple[str, bytes]] = set()  # keys on the log under which only events of the person came
        self._others: set[tuple[str, bytes]] = set()

    def __call__(self, record: LogRecord) -> LogRecord | None:
        """Return what is to be left of a record, None if nothing."""
        if ERASED in record.headers:
            return record
        if record.stream in self._shared:
            return self._without_name(record)
        if self._speech is not None and self._speech.reads(record.stream):
            return self._without_speech(record, self._speech)
        if not self._reading.reads(record.stream):
            return None if self._names(record) else record
        changes = self._reading.changes(record)
        if not changes:
            # A tombstone after a delete, or what cannot be read: the key tells whose it is.
            mine = record.key is not None and (record.stream, record.key) in self._keys - self._others
            return None if mine or (changes is None and self._names(record)) else self._without_name(record)
        concerned = [self.concerns(change) for change in changes]
        self._learn(record, mine=all(concerned))
        return None if all(concerned) else self._without_name(record, anyway=any(concerned))

    def concerns(self, change: Change) -> bool:
        """Tell whether a change is of the person, or of an activity that belongs to it."""
        return change.record in self._records or self._belonging.owner(change) in self._records

    def concerned(self, letter: DeadLetter) -> bool:
        """Tell whether a dead letter is of the person."""
        return self(letter.record) is not letter.record

    def _without_speech(self, record: LogRecord, speech: SpeechReading) -> LogRecord | None:
        events = speech.events(record)
        if events is None:
            gone = self._names(record) or any(map(self._mentioning.in_, _parts(record)))
            return None if gone else record
        if not any(map(self._said, events)):
            return self._without_name(record)
        if all(map(self._said, events)):
            return None
        return self._pruned(record, speech)

    def _said(self, event: FeedbackEvent) -> bool:
        return not isinstance(event, Point) and event.conversation in self._conversations

    def _pruned(self, record: LogRecord, speech: SpeechReading) -> LogRecord | None:
        """Return what is left of a record that has something of others as well; None if it cannot be told apart."""

        def alone(part: Any) -> LogRecord:
            return msgspec.structs.replace(record, value=msgspec.json.encode(part))

        def mine(part: Any) -> bool:
            events = speech.events(alone(part))
            return self._names(alone(part)) if events is None else any(map(self._said, events))

        left = without(msgspec.json.decode(record.value or b"null"), mine)
        if left is None or any(map(self._said, speech.events(alone(left)) or ())):
            return None
        return self._without_name(alone(left))

    def _names(self, record: LogRecord) -> bool:
        return record.event_time <= self._at and any(map(self._naming.in_, _parts(record)))

    def _without_name(self, record: LogRecord, *, anyway: bool = False) -> LogRecord:
        if not anyway and not self._names(record):
            return record
        clean = self._naming.out_of
        left = msgspec.structs.replace(
            record,
            key=None if record.key is None else clean(record.key),
            value=None if record.value is None else clean(record.value),
            headers={name: clean(text.encode()).decode(errors="replace") for name, text in record.headers.items()},
        )
        return record if left == record else left

    def _learn(self, record: LogRecord, *, mine: bool) -> None:
        if record.key is not None:
            place = record.stream, record.key
            if mine:
                self._keys.add(place)
            elif place in self._keys:
                self._others.add(place)


def _parts(record: LogRecord) -> Iterable[bytes | None]:
    yield record.value
    yield record.key
    for text in record.headers.values():
        yield text.encode()


def _pattern(written: list[bytes]) -> re.Pattern[bytes]:
    alternatives = b"|".join(map(_bounded, written))
    return re.compile(alternatives)


def _bounded(text: bytes) -> bytes:
    """Return the pattern of a text that is not part of a longer word."""
    before = rb"(?:(?<![" + _WORD + rb"])|" + _ESCAPES + rb")" if _is_word(text[:1]) else b""
    after = rb"(?![" + _WORD + rb"])" if _is_word(text[-1:]) else b""
    return before + re.escape(text) + after


def _is_word(byte: bytes) -> bool:
    return byte.isalnum() or byte >= b"\x80"


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
