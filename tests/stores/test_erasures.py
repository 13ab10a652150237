"""The file of erasures: fingerprints that stay, names that go, at no moment anything in between."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from events.erasure import Erasure
from events.errors import StoreError
from events.persons import person_id
from stores.erasures import LOOK_SECONDS, ErasedPeople, Erasures, Pending, Receipt, Removed

ANNA = Erasure(
    "e1", "default", "p1", ('crm/customers/{"id":4711}', 'shop/users/{"id":7}'), ("email:anna@example.org",), 5_000
)
BEN = Erasure("e2", "default", "p2", ('crm/customers/{"id":12}',), ("email:ben@example.org",), 6_000)


class Hands:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_conversations_and_ids_are_known_by_fingerprints_for_ever_and_apart_from_records(path: Path) -> None:
    erasures = Erasures(path)
    erasures.begin(pending(msgspec.structs.replace(ANNA, conversations=("chat-1", "email"))))
    known = erasures.fingerprints()
    assert [known.has_conversation(id_) for id_ in ("chat-1", "email", "c2")] == [True, True, False]
    assert not any(map(known.has_record, ("chat-1", "p1")))
    former = person_id("default", 'shop/users/{"id":7}')
    assert [known.has_person(id_) for id_ in ("p1", former, "p2", "chat-1")] == [True, True, False, False]
    erasures.finish(receipt("e1"))
    assert b"chat-1" not in path.read_bytes()


def pending(erasure: Erasure, *values: str) -> Pending:
    return Pending(erasure, (), values)


def receipt(id_: str) -> Receipt:
    return Receipt(id_, 1_000, 2_000, (Removed("profile store", "rows", 2),), 3, 4, 1, 9, 1234)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "erasures.json"


def made(path: Path) -> Erasures:
    return Erasures(path, lambda count: bytes(range(count)))


def test_an_erased_record_is_known_by_its_key_and_by_its_identifiers_up_to_the_moment(path: Path) -> None:
    made(path).begin(pending(ANNA, "Anna"))
    known = Erasures(path).fingerprints()
    assert known.has_record('crm/customers/{"id":4711}')
    assert not known.has_record('crm/customers/{"id":12}')
    assert known.has_identifier("default", "email:anna@example.org", 5_000)
    assert not known.has_identifier("default", "email:anna@example.org", 5_001)
    assert not known.has_identifier("other", "email:anna@example.org", 5_000)


def test_what_an_erasure_names_is_in_the_file_until_its_end_and_no_longer(path: Path) -> None:
    erasures = made(path)
    erasures.begin(pending(ANNA, "Anna Silva"))
    assert erasures.pending() == (pending(ANNA, "Anna Silva"),)
    erasures.finish(receipt("e1"))
    left = path.read_bytes()
    for text in (b"4711", b"anna@", b"Silva", b"p1"):
        assert text not in left
    assert erasures.pending() == ()
    assert erasures.receipts() == (receipt("e1"),)
    assert erasures.fingerprints().has_record('shop/users/{"id":7}')


def test_an_erasure_begun_again_is_one(path: Path) -> None:
    erasures = made(path)
    for _ in range(2):
        erasures.begin(pending(ANNA))
    erasures.begin(pending(BEN))
    assert [one.erasure.id for one in erasures.pending()] == ["e1", "e2"]
    erasures.finish(receipt("e1"))
    erasures.finish(receipt("e1"))
    assert [one.id for one in erasures.receipts()] == ["e1"]
    assert [one.erasure.id for one in erasures.pending()] == ["e2"]


def test_an_erasure_that_could_not_be_completed_is_kept_with_its_receipt(path: Path) -> None:
    made(path).begin(pending(ANNA))
    made(path).finish(receipt("e1"), keep=True)
    assert made(path).pending() == (pending(ANNA),)
    assert made(path).receipts() == (receipt("e1"),)


def test_the_secret_is_made_once_and_only_its_owner_may_read_it(path: Path) -> None:
    made(path).begin(pending(ANNA))
    Erasures(path, lambda count: b"\xff" * count).begin(pending(BEN))
    assert Erasures(path).fingerprints().has_record('crm/customers/{"id":4711}')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_was_cut_short_leaves_the_file_as_it_was(path: Path) -> None:
    made(path).begin(pending(ANNA))
    path.with_name("erasures.json.new").write_bytes(b'{"secret":')
    made(path).begin(pending(BEN))
    assert len(Erasures(path).pending()) == 2
    assert not path.with_name("erasures.json.new").exists()


def test_only_one_erases_at_a_time(path: Path) -> None:
    with made(path).alone(), pytest.raises(StoreError, match="other `headrace forget`"), made(path).alone():
        pass
    with made(path).alone():
        pass


def test_without_the_file_nobody_is_erased_and_none_is_made(path: Path) -> None:
    assert not ErasedPeople(path).fingerprints()
    assert not made(path).fingerprints()
    made(path).finish(receipt("e1"))
    assert not path.exists()


def test_a_flow_that_runs_learns_of_an_erasure_within_a_moment(path: Path) -> None:
    clock = Hands()
    people = ErasedPeople(path, clock)
    assert not people.fingerprints()
    made(path).begin(pending(ANNA))
    assert not people.fingerprints()
    clock.now += LOOK_SECONDS
    first = people.fingerprints()
    assert first.has_record('crm/customers/{"id":4711}')
    clock.now += LOOK_SECONDS
    assert people.fingerprints() is first
    made(path).begin(pending(BEN))
    clock.now += LOOK_SECONDS
    assert people.fingerprints().has_record('crm/customers/{"id":12}')


def test_who_was_erased_stays_so_when_the_file_goes_while_the_flow_runs(path: Path) -> None:
    clock = Hands()
    made(path).begin(pending(ANNA))
    people = ErasedPeople(path, clock)
    people.fingerprints()
    path.unlink()
    clock.now += LOOK_SECONDS
    assert people.fingerprints().has_record('crm/customers/{"id":4711}')


@pytest.mark.parametrize("content", [b"", b"[]", b'{"secret":"AAAA","version":9}'])
def test_a_file_that_cannot_be_read_stops_the_flow_with_one_line(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"erasures\.json"):
        ErasedPeople(path).fingerprints()
    with pytest.raises(StoreError, match=r"erasures\.json"):
        made(path).begin(pending(ANNA))
