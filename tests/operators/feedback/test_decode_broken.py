from __future__ import annotations

from pathlib import Path

import pytest

from events.errors import RejectedError
from events.feedback import Turn
from events.log import LogRecord
from fixtures.broken_feedback import AHEAD, LIMIT, NOW, Case, cases, files
from fixtures.stream import file_name
from operators.feedback.decode import Decoder
from stores.log.files import FileLog


def decoder() -> Decoder:
    return Decoder("auto", "support", LIMIT, AHEAD, lambda: NOW)


def record(case: Case) -> LogRecord:
    return LogRecord("feedback", 0, 0, case.time, case.name.encode(), case.value)


@pytest.mark.parametrize("case", [case for case in cases() if case.reason], ids=lambda case: case.name)
def test_what_is_wrong_is_refused_in_one_line_with_the_remedy(case: Case) -> None:
    with pytest.raises(RejectedError) as refused:
        decoder().decode(record(case))
    assert case.reason in refused.value.detail
    assert case.remedy in refused.value.hint
    assert case.remedy
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("case", [case for case in cases() if not case.reason], ids=lambda case: case.name)
def test_what_is_odd_but_right_comes_through(case: Case) -> None:
    assert len(decoder().decode(record(case))) == case.events


def test_texts_come_through_as_they_were_written_but_for_control_characters() -> None:
    found = {case.name: decoder().decode(record(case))[0] for case in cases() if not case.reason and case.events}
    assert getattr(found["control-in-a-text"], "text") == "ab[31mc\td\n"  # noqa: B009 - of some kinds only
    for name, text in (("emoji", "👍🏽👩‍👩‍👧‍👦 great"), ("right-to-left-marks", "\u202eevil\u202c \u200f12")):
        assert getattr(found[name], "text") == text  # noqa: B009
    turn = found["another-zone"]
    assert isinstance(turn, Turn)
    assert turn.time == NOW - 3_600_000


@pytest.mark.parametrize(
    ("value", "detail", "hint"),
    [
        (b'{"type": "ratng", "scale": "stars"}', "there is no `type` 'ratng'", "did you mean 'rating'?"),
        (b'{"key": "c1", "value": {"type": "turn"}}', "is a whole record", "`headrace log append --records`"),
        (b'{"type": "conversation", "id": "c", "turns": [{"role": "bot"}]}', "`turns[0].role` is the text 'bot'",
         "use one of user, assistant, system, tool"),
        (b'{"type": "context", "id": "x", "items": {}}', "`items` is an object", "give a list"),
    ],
)  # fmt: skip
def test_a_slip_is_named_with_what_was_meant(value: bytes, detail: str, hint: str) -> None:
    with pytest.raises(RejectedError) as refused:
        decoder().decode(LogRecord("feedback", 0, 0, NOW, None, value))
    assert detail in refused.value.detail
    assert hint in refused.value.hint


def test_an_erased_record_and_one_that_the_log_could_not_read_are_told_apart() -> None:
    assert decoder().decode(LogRecord("feedback", 0, 0, NOW, None, None, {"headrace-erased": "1"})) == ()
    with pytest.raises(RejectedError, match="torn"):
        decoder().decode(LogRecord("feedback", 0, 0, NOW, None, b"{", {"headrace-broken": "a torn line"}))


def test_the_stream_holds_all_of_them_as_the_log_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "feedback-broken"
    folder.mkdir()
    for partition, raw in files().items():
        (folder / file_name(partition)).write_bytes(raw)
    log = FileLog(tmp_path)
    found = [one for partition in files() for one in log.read("feedback-broken", partition, 0, 1_000)[0]]
    read = {(one.key or b"").decode(): (one.value, one.event_time) for one in found}
    assert read == {case.name: (case.value, case.time) for case in cases()}
