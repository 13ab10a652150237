"""What the feedback flow makes of a log that has less than before: no standstill, and no parts in place of wholes."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dataflows.feedback import build
from events.feedback import Turn
from events.log import LogRecord, as_replay
from operators.feedback.own import to_json
from stores.log.files import FileLog
from tests.dataflows.feedback_content import content, settings_of, values_of
from tests.stores.kpi_samples import BEGIN, MINUTE


class Logged:
    """A log, and the flow over it to its end."""

    def __init__(self, folder: Path) -> None:
        self.log = FileLog(folder / "log", partitions=1, segment_bytes=1024)
        self._data, self._config, self._recovery = folder / "data", folder / "headrace.toml", folder / "recovery"
        self._recovery.mkdir()
        init_db_dir(self._recovery, 1)
        self.configure()

    def configure(self, more: str = "") -> None:
        text = '[[feedback.streams]]\nname = "chat"\n[feedback.sentiment]\nbackend = "none"\n'
        self._config.write_text(text + more, encoding="utf-8")

    def say(self, name: str, count: int) -> None:
        """Append answers, one each minute."""
        turns = [Turn(f"{name}{minute}", "a", BEGIN + minute * MINUTE, "assistant", "Yes.") for minute in range(count)]
        for turn in turns:
            self.log.append("chat", [record_of(turn)])

    def run(self, *, recovering: bool = False) -> dict[str, Any]:
        settings = settings_of(self._data, self._config, mode="replay", log={"dir": self._data.parent / "log"})
        recovery = RecoveryConfig(self._recovery) if recovering else None
        run_main(build(settings), recovery_config=recovery, epoch_interval=timedelta(0))
        return content(self._data, self._config)


def record_of(turn: Turn) -> LogRecord:
    return LogRecord("chat", 0, 0, turn.time, turn.conversation.encode(), to_json(turn))


def of_the_day(found: dict[str, Any], kpi: str = "answers") -> dict[int, int]:
    """Return the counts of the total of each day."""
    return {start: count for (start, group), (_, count) in values_of(found, kpi, "1d").items() if not group}


def test_the_flow_goes_on_when_a_stream_of_replayed_events_is_gone(tmp_path: Path) -> None:
    logged = Logged(tmp_path)
    logged.say("first", 5)
    again = Turn("again", "a", BEGIN, "assistant", "Yes.")
    logged.log.append("replay.feedback", [as_replay(record_of(again))])
    assert of_the_day(logged.run()) == {BEGIN: 6}
    shutil.rmtree(tmp_path / "log" / "replay.feedback")
    logged.say("second", 5)
    assert of_the_day(logged.run()) == {BEGIN: 10}


def test_a_day_is_not_overwritten_with_what_is_left_of_it_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logged = Logged(tmp_path)
    logged.say("first", 100)
    assert of_the_day(logged.run()) == {BEGIN: 100}
    assert logged.log.retain("chat", BEGIN + 50 * MINUTE) > 0
    (left, *_), _ = logged.log.read("chat", 0, logged.log.bounds("chat", 0)[0], 10)
    assert left.event_time > BEGIN
    logged.say("second", 120)
    found = logged.run()
    assert of_the_day(found) == {BEGIN: 100}
    minutes = {start: count for (start, group), (_, count) in values_of(found, "answers", "1m").items() if not group}
    # What is before the oldest that is left, but for the allowed lateness, is as it was.
    whole = (left.event_time - BEGIN) // MINUTE + 1
    assert minutes == {BEGIN + minute * MINUTE: 2 if whole <= minute < 100 else 1 for minute in range(120)}
    assert "does not go back to where the store begins" in caplog.text


def test_a_day_that_a_kpi_was_defined_anew_in_stays_as_it_was(tmp_path: Path) -> None:
    logged = Logged(tmp_path)
    logged.configure('[[feedback.kpis]]\nname = "mine"\n[[feedback.kpis]]\nname = "gone"\n')
    logged.say("first", 100)
    assert of_the_day(logged.run(recovering=True), "gone") == {BEGIN: 100}
    logged.configure('[[feedback.kpis]]\nname = "mine"\nwhere = { application = "" }\n')
    logged.say("second", 1)
    found = logged.run(recovering=True)
    assert of_the_day(found, "mine") == {BEGIN: 100}
    assert of_the_day(found, "answers") == {BEGIN: 101}
    assert of_the_day(found, "gone") == {}
