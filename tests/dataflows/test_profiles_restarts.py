"""What the profiles flow makes of losses between two runs: the same profiles, or a refusal that names the remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from events.errors import HeadraceError
from events.log import LogRecord, control_stream
from fixtures import people
from fixtures.people import Crowd
from stores.dead_letters import DeadLetters
from stores.log.files import FileLog
from tests.dataflows.profiles_content import crowd_config, partition, replay
from tests.dataflows.test_profiles import batch_partition

CROWD = Crowd(seed=8, persons=120, changes=700)


class Place:
    """A log whose second half comes later, and what the flow makes of it."""

    def __init__(self, home: Path) -> None:
        self.data = home / "data"
        self.config = crowd_config(home)
        self.log = FileLog(home / "log", partitions=2)
        self._home = home
        records = list(people.events(CROWD))
        self._halves = [records[: len(records) // 2], records[len(records) // 2 :]]

    def append(self) -> None:
        """Append the next half of the records."""
        self.log.append(people.STREAM, self._halves.pop(0))

    def run(self) -> dict[str, Any]:
        """Run to the end of the log; return what the store holds but for the offsets."""
        found = replay(self._home / "log", self.data, config=self.config, batch=50)
        del found["applied"]
        return found

    def fresh(self) -> dict[str, Any]:
        """Return what a first run over the whole log makes."""
        found = replay(self._home / "log", self._home / "fresh", config=self.config)
        del found["applied"]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a place in which the first half has been read."""
    made = Place(tmp_path)
    made.append()
    made.run()
    made.append()
    return made


def test_a_run_without_its_state_goes_on_where_store_and_journal_are(place: Place) -> None:
    assert place.run() == place.fresh()
    assert place.run() == place.fresh()


def test_a_lost_store_is_made_again_from_the_log_and_the_journal(place: Place) -> None:
    for path in place.data.glob("profiles.sqlite3*"):
        path.unlink()
    assert place.run() == place.fresh()


def test_a_lost_journal_is_refused_and_the_remedy_helps(place: Place) -> None:
    shutil.rmtree(place.data / "identity")
    with pytest.raises(Exception, match=r"StoreError|StatefulBatchLogic|journal") as raised:
        place.run()
    told = told_by(raised.value)
    assert "journal" in told.detail
    assert str(place.data / "identity") in told.hint
    for path in place.data.glob("profiles.sqlite3*"):
        path.unlink()
    shutil.rmtree(place.data / "identity", ignore_errors=True)
    assert place.run() == place.fresh()


def test_other_limits_make_other_persons_without_reading_anything_again(place: Place) -> None:
    before = place.run()
    place.config.write_text("[profiles]\nperson_limit = 2\n" + place.config.read_text())
    after = place.run()
    assert after == place.fresh() != before
    assert set(partition(after).values()) == batch_partition(place.config, people.final(CROWD))


def erasure(**fields: Any) -> bytes:
    whole = {"type": "erasure", "id": "1", "realm": "default", "person": "p", "records": [], "identifiers": [], "at": 1}
    return json.dumps({**whole, **fields}).encode()


@pytest.mark.parametrize(
    "value", [b"{", b'{"type":"erasure"}', erasure(realm="../x"), erasure(realm="a\0b"), erasure(records=["none"])]
)
def test_nonsense_on_the_control_stream_is_a_dead_letter(place: Place, value: bytes) -> None:
    stream = control_stream("profiles")
    place.log.append(stream, [LogRecord(stream, 0, 0, 1, b"k", value)])
    assert place.run() == place.fresh()
    letters = DeadLetters(place.data / "dead_letters.sqlite3", lambda: 0).list()
    assert [kept.letter.step for kept in letters] == ["control"]


def told_by(error: BaseException | None) -> HeadraceError:
    """Return the error with a remedy behind what the engine has made of it."""
    while error is not None:
        if isinstance(error, HeadraceError):
            return error
        error = error.__cause__ or error.__context__
    pytest.fail("no error with a remedy")
