"""What travels in the log keeps its own coordinates through a replay."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone

import msgspec

from events.clock import to_iso, to_millis
from events.errors import HeadraceError, MissingExtraError
from events.log import LogRecord, as_replay, original_of


def test_a_replayed_record_unwraps_to_the_original() -> None:
    record = LogRecord("documents", 3, 170, 5, b"key", b"value", {"trace": "7"})
    arrived = msgspec.structs.replace(as_replay(record), stream="replay.knowledge", partition=0, offset=9)
    assert original_of(arrived, "knowledge") == record


def test_a_record_that_is_no_replay_is_itself() -> None:
    headers = {"headrace-stream": "x", "headrace-partition": "0", "headrace-offset": "1"}
    forged = LogRecord("partner", 3, 170, 5, b"key", None, headers)
    assert original_of(forged, "knowledge") is forged
    for offset in ("no number", "-1", "9" * 30):
        broken = LogRecord("replay.knowledge", 0, 170, 5, b"key", None, {**headers, "headrace-offset": offset})
        assert original_of(broken, "knowledge") is broken


def test_times_are_written_in_utc_to_the_millisecond() -> None:
    moment = datetime(2026, 3, 1, 9, 30, 0, 123_000, tzinfo=timezone.utc)
    assert to_iso(to_millis(moment)) == "2026-03-01T09:30:00.123Z"
    assert to_millis(moment.replace(tzinfo=None)) == to_millis(moment)


def test_errors_keep_their_words_between_processes() -> None:
    error = pickle.loads(pickle.dumps(MissingExtraError("openvino", "fast")))  # noqa: S301  # our own
    assert isinstance(error, HeadraceError)
    assert str(error) == "the package 'openvino' is not installed (pip install 'headrace[fast]')"
