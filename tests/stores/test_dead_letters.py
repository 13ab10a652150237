"""The store of dead letters: each event once, counted, handed back, and back again if it fails again."""

from __future__ import annotations

import msgspec
import pytest

from events.dead_letters import DeadLetter
from events.errors import StoreError
from events.log import LogRecord
from stores.dead_letters import DeadLetters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class Hands:
    """A clock that is set by hand."""

    now = 1_000

    def __call__(self) -> int:
        return self.now


def letter(offset: int, *, flow: str = "knowledge", reason: str = "not JSON") -> DeadLetter:
    record = LogRecord("documents", 1, offset, 500, b"key", b"\xff raw", {"trace": "7"})
    return DeadLetter(flow, "decode", reason, record)


def test_a_letter_comes_back_as_it_went_in(tmp_path: Path) -> None:
    store = DeadLetters(tmp_path / "letters.sqlite3", Hands())
    store.write([letter(3)])
    (kept,) = store.list()
    assert kept.letter == letter(3)
    assert (kept.failed_at, kept.replayed_at) == (1_000, None)
    assert store.get(kept.id[:6]) == kept


def test_the_same_event_again_is_one_letter_with_the_newest_reason(tmp_path: Path) -> None:
    store = DeadLetters(tmp_path / "letters.sqlite3", Hands())
    store.write([letter(3), letter(4)])
    store.write([letter(3, reason="still not JSON")])
    assert store.counts() == {"knowledge": 2}
    assert {kept.letter.reason for kept in store.list()} == {"not JSON", "still not JSON"}


def test_a_letter_that_was_handed_back_waits_again_when_it_fails_again(tmp_path: Path) -> None:
    clock = Hands()
    store = DeadLetters(tmp_path / "letters.sqlite3", clock)
    store.write([letter(3)])
    store.mark_replayed(store.list())
    assert store.list() == []
    assert len(store.list(replayed=True)) == 1
    assert store.counts() == {}
    clock.now = 2_000
    store.write([letter(3)])
    assert [kept.failed_at for kept in store.list()] == [2_000]


def test_a_letter_that_fails_again_before_it_is_noted_as_handed_back_still_waits(tmp_path: Path) -> None:
    clock = Hands()
    store = DeadLetters(tmp_path / "letters.sqlite3", clock)
    store.write([letter(3)])
    handed_back = store.list()
    clock.now = 2_000
    store.write([letter(3)])
    store.mark_replayed(handed_back)
    assert [kept.failed_at for kept in store.list()] == [2_000]


def test_flows_are_told_apart(tmp_path: Path) -> None:
    store = DeadLetters(tmp_path / "letters.sqlite3", Hands())
    store.write([letter(3), letter(3, flow="tables")])
    assert store.counts() == {"knowledge": 1, "tables": 1}
    assert [kept.letter.flow for kept in store.list("tables")] == ["tables"]


def test_discarded_letters_are_gone(tmp_path: Path) -> None:
    store = DeadLetters(tmp_path / "letters.sqlite3", Hands())
    store.write([letter(3), letter(4)])
    assert store.discard([kept.id for kept in store.list()][:1]) == 1
    assert store.discard(["unknown"]) == 0
    assert len(store.list()) == 1


def test_erased_letters_are_gone_whether_they_wait_or_were_handed_back(tmp_path: Path) -> None:
    store = DeadLetters(tmp_path / "letters.sqlite3", Hands())
    store.write([letter(3), letter(4), letter(5)])
    store.mark_replayed([kept for kept in store.list() if kept.letter.record.offset == 4])
    assert store.erase(lambda one: one.record.offset in {3, 4}) == 2
    assert [kept.letter for kept in store.list(replayed=True)] == [letter(5)]
    assert store.erase(lambda one: one.record.offset in {3, 4}) == 0
    assert DeadLetters(tmp_path / "absent.sqlite3", Hands()).erase(lambda one: True) == 0


def test_an_ambiguous_beginning_finds_nothing(tmp_path: Path) -> None:
    store = DeadLetters(tmp_path / "letters.sqlite3", Hands())
    store.write([letter(number) for number in range(40)])
    first = store.list()[0].id[0]
    assert sum(kept.id.startswith(first) for kept in store.list()) > 1
    assert store.get(first) is None


def test_reading_an_absent_store_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    store = DeadLetters(tmp_path / "letters.sqlite3", Hands())
    assert (store.list(), store.counts(), store.get("a"), store.discard(["a"])) == ([], {}, None, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "letters.sqlite3"
    path.write_text("something else, and long enough to be looked at " * 50)
    with pytest.raises(StoreError, match="cannot be used"):
        DeadLetters(path, Hands()).list()


def test_ids_tell_events_steps_and_flows_apart() -> None:
    one = letter(3)
    others = [letter(4), letter(3, flow="tables"), msgspec.structs.replace(one, step="parse")]
    assert len({one.id, *(other.id for other in others)}) == 4
    assert one.id == letter(3, reason="another reason").id
