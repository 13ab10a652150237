"""What every store of served contexts must do, whatever it is kept in. An adapter joins by an entry in `ADAPTERS`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from events.errors import RejectedError, StoreError
from events.feedback import Turn
from stores.contexts.base import ContextStore, Holder, KeptContext
from stores.contexts.sqlite import SqliteContexts

NOW = 1_793_520_000_000
ROOT = Path(__file__).parents[2]
ADAPTERS: dict[str, Callable[[Path], ContextStore]] = {"sqlite": lambda folder: SqliteContexts(folder / "c.sqlite3")}
ANNA = Holder("default", "panna", "desk")


@pytest.fixture(params=sorted(ADAPTERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContextStore]:
    with closing(ADAPTERS[request.param](tmp_path)) as opened:
        yield opened


def kept(id_: str, *, at: int = NOW, body: bytes = b"{}", conversation: str = "", person: str = "") -> KeptContext:
    return KeptContext(id_, conversation, "default" if person else "", person, ("public",), "desk", at, body)


def turn(
    conversation: str, id_: str, *, time: int = NOW, role: str = "user", person: str = "", text: str = "x"
) -> Turn:
    return msgspec.convert(
        {"conversation": conversation, "id": id_, "time": time, "role": role, "text": text, "person": person}, Turn
    )


@pytest.mark.parametrize("body", [b"", b"\0\xff" * 1000, '{"a":"ü€"}'.encode(), os.urandom(50_000)])
def test_a_context_comes_back_byte_for_byte(store: ContextStore, body: bytes) -> None:
    one = KeptContext("c1", "k1", "default", "panna", ("public", "staff"), "desk", NOW, body)
    store.keep(one)
    assert store.get("c1") == one


def test_what_is_not_there_is_none(store: ContextStore) -> None:
    assert store.get("c1") is None
    assert store.of_conversation("k1", 5) == []
    assert store.holder("k1") is None
    assert store.turns("k1", 5) == []
    assert store.prune(NOW, 0) == 0
    assert store.held("default", ["panna"], ["k1"]) == 0
    assert store.erase("default", ["panna"], ["k1"], ["c1"]) == 0
    assert store.mentions(["x"]) == []
    assert store.conversations("default", ["panna"]) == []


def test_a_context_that_is_there_stays_as_it_is(store: ContextStore) -> None:
    store.keep(kept("c1", body=b"first"))
    store.keep(kept("c1", body=b"second"))
    found = store.get("c1")
    assert found is not None
    assert found.body == b"first"


def test_a_context_is_the_same_after_ten_thousand_others(store: ContextStore) -> None:
    body = os.urandom(2000)
    store.keep(kept("c0", body=body))
    for number in range(10_000):
        store.keep(kept(f"d{number}", at=NOW + number, body=b"x" * 50))
    found = store.get("c0")
    assert found is not None
    assert found.body == body


def test_contexts_of_a_conversation_come_newest_first(store: ContextStore) -> None:
    for number in (2, 5, 1, 4, 3):
        store.keep(kept(f"c{number}", at=NOW + number, conversation="k1"))
    store.keep(kept("other", conversation="k2"))
    store.keep(kept("none"))
    assert [one.id for one in store.of_conversation("k1", 3)] == ["c5", "c4", "c3"]
    assert store.of_conversation("", 3) == []


def test_a_conversation_belongs_to_whoever_claimed_it_first(store: ContextStore) -> None:
    other = Holder("default", "pbert", "shop")
    assert store.claim("k1", ANNA, NOW) == ANNA
    assert store.claim("k1", other, NOW) == ANNA
    assert store.holder("k1") == ANNA
    assert store.claim("k2", other, NOW) == other


def test_turns_come_in_their_order_the_last_of_them(store: ContextStore) -> None:
    turns = [
        turn("k1", "b", time=NOW + 2),
        turn("k1", "a", time=NOW + 1, role="assistant"),
        turn("k1", "z", time=NOW + 1),
        turn("k1", "c", time=NOW + 3, role="assistant"),
        turn("k2", "o", time=NOW + 9),
    ]
    store.add_turns(turns)
    store.add_turns([turn("k1", "b", time=NOW + 2, text="changed")])
    # At the same time a question goes before its answer.
    assert [one.id for one in store.turns("k1", 10)] == ["z", "a", "b", "c"]
    assert store.turns("k1", 2) == [turns[0], turns[3]]


def test_what_is_too_old_goes(store: ContextStore) -> None:
    for number in range(10):
        store.keep(kept(f"c{number}", at=NOW + number))
    store.add_turns([turn("k1", str(number), time=NOW + number) for number in range(4)])
    assert store.prune(NOW + 3, 10**9) == 6
    assert store.prune(NOW + 3, 10**9) == 0
    assert [number for number in range(10) if store.get(f"c{number}")] == list(range(3, 10))
    assert [one.id for one in store.turns("k1", 10)] == ["3"]


def test_the_oldest_go_until_no_more_stays_than_may(store: ContextStore) -> None:
    for number in range(10):
        store.keep(kept(f"c{number}", at=NOW + number, body=os.urandom(10_000)))
    while gone := store.prune(0, 45_000):
        assert gone <= 1000
    left = [number for number in range(10) if store.get(f"c{number}")]
    assert left == [6, 7, 8, 9]


def test_one_call_of_pruning_is_bounded(store: ContextStore) -> None:
    for number in range(1500):
        store.keep(kept(f"c{number}", at=NOW + number))
    first = store.prune(NOW + 10_000, 10**9)
    assert 0 < first < 1500
    assert first + store.prune(NOW + 10_000, 10**9) == 1500


def test_pruning_ends_only_when_nothing_is_too_old_or_too_much(store: ContextStore) -> None:
    store.keep(kept("c0"))
    store.add_turns([turn("k1", str(number), time=NOW + number, text="x" * 100) for number in range(2500)])
    store.claim("k2", ANNA, NOW)
    assert _pruned(store, NOW + 2000, 10**9) == 1 + 2000 + 1
    assert [one.id for one in store.turns("k1", 5000)] == [str(number) for number in range(2000, 2500)]
    assert store.holder("k2") is None
    assert _pruned(store, NOW + 2000, 10_000) > 0
    last = [one.id for one in store.turns("k1", 5000)]
    assert last == [str(number) for number in range(2500 - len(last), 2500)]
    assert 0 < len(last) < 100
    assert _pruned(store, NOW + 2100, 0) == len(last)


def test_what_is_too_much_goes_in_the_same_call_as_what_is_too_old(store: ContextStore) -> None:
    for number in range(10):
        store.keep(kept(f"c{number}", at=NOW + number, body=os.urandom(10_000)))
    assert store.prune(NOW + 2, 45_000) == 6
    assert [number for number in range(10) if store.get(f"c{number}")] == [6, 7, 8, 9]


def test_a_claim_after_which_nothing_was_kept_is_forgotten_when_it_is_past(store: ContextStore) -> None:
    for number in range(1500):
        store.claim(f"rated-{number}", ANNA, NOW + number % 2)
    store.claim("rated-1", ANNA, NOW + 9)
    assert _pruned(store, NOW, 0) == 0
    assert _pruned(store, NOW + 1, 0) == 750
    assert store.holder("rated-0") is None
    assert store.holder("rated-1") == ANNA
    assert _pruned(store, NOW + 2, 0) == 750


def test_a_conversation_stays_claimed_until_all_of_it_is_past(store: ContextStore) -> None:
    store.claim("k1", ANNA, NOW)
    assert store.prune(NOW, 10**9) == 0
    store.keep(kept("c1", at=NOW, conversation="k1"))
    store.keep(kept("c2", at=NOW + 10, conversation="k1"))
    store.add_turns([turn("k1", "t", time=NOW + 20)])
    store.prune(NOW + 20, 10**9)
    assert store.get("c2") is None
    assert store.holder("k1") == ANNA
    store.prune(NOW + 21, 10**9)
    assert store.holder("k1") is None


def test_everything_of_a_person_and_of_its_conversations_is_erased(store: ContextStore) -> None:
    store.claim("held", ANNA, NOW)
    store.claim("other", Holder("default", "pbert", "desk"), NOW)
    store.keep(kept("own", person="panna"))
    store.keep(kept("in-own", conversation="shown", person="panna"))
    store.keep(kept("beside-own", conversation="shown"))
    store.keep(kept("in-held", conversation="held"))
    store.keep(kept("in-named", conversation="named"))
    store.keep(kept("by-id", person="pbert"))
    store.keep(kept("stays", conversation="other", person="pbert"))
    store.keep(kept("nobody"))
    store.add_turns([turn("held", "1"), turn("spoken", "2", person="panna"), turn("spoken", "3"), turn("other", "4")])
    elsewhere = KeptContext("realm", "", "partners", "panna", ("public",), "desk", NOW, b"")
    store.keep(elsewhere)
    assert store.held("default", ["panna"], ["named"]) == 8
    assert store.erase("default", ["panna"], ["named"], ["by-id"]) == 9
    assert store.held("default", ["panna"], ["named"]) == 0
    ids = ["own", "in-own", "beside-own", "in-held", "in-named", "by-id", "stays", "nobody", "realm"]
    assert [id_ for id_ in ids if store.get(id_)] == ["stays", "nobody", "realm"]
    assert store.turns("held", 5) == store.turns("spoken", 5) == []
    assert [one.id for one in store.turns("other", 5)] == ["4"]
    assert store.holder("held") is None
    assert store.holder("other") is not None
    assert store.erase("default", ["panna"], ["named"], ["by-id"]) == 0


def test_the_conversations_of_persons_are_those_that_they_claimed_and_those_that_name_them(store: ContextStore) -> None:
    store.claim("claimed", ANNA, NOW)
    store.claim("other", Holder("default", "pbert", "desk"), NOW)
    store.claim("elsewhere", Holder("partners", "panna", "desk"), NOW)
    store.claim("nobodys", Holder("", "", "desk"), NOW)
    store.keep(kept("c1", conversation="shown", person="panna"))
    store.keep(kept("c2", conversation="", person="panna"))
    store.keep(kept("c3", conversation="nobodys"))
    store.add_turns([turn("spoken", "1", person="anna-before"), turn("spoken", "2"), turn("other", "3")])
    assert store.conversations("default", ["panna", "anna-before"]) == ["claimed", "shown", "spoken"]
    assert store.conversations("default", ["pbert"]) == ["other"]
    assert store.conversations("default", ["", "nobody"]) == []


def test_contexts_that_hold_a_text_are_found(store: ContextStore) -> None:
    bodies = {"a": "Anna Kowalska", "b": 'said "so"', "c": "line\nend", "d": "größer", "e": "nothing"}
    for id_, text in bodies.items():
        store.keep(kept(id_, body=msgspec.json.encode({"text": text})))
    assert store.mentions(["Anna Kow"]) == ["a"]
    assert store.mentions(['said "so"', "größer"]) == ["b", "d"]
    assert store.mentions(["line\nend"]) == ["c"]
    assert store.mentions(["", "absent", "\ud800"]) == []


def test_what_cannot_be_written_is_refused_in_words(store: ContextStore) -> None:
    for refused in (
        lambda: store.keep(kept("c\ud800")),
        lambda: store.keep(kept("c", at=2**70)),
        lambda: store.claim("\ud800", ANNA, NOW),
        lambda: store.add_turns([turn("k1", "\ud800")]),
    ):
        with pytest.raises(RejectedError):
            refused()
    store.keep(kept("c"))
    assert store.get("c") is not None


def test_closing_twice_does_nothing_and_what_was_kept_is_there_again(tmp_path: Path) -> None:
    for make in ADAPTERS.values():
        first = make(tmp_path)
        first.keep(kept("c1", body=b"kept"))
        first.close()
        first.close()
        with closing(make(tmp_path)) as second:
            found = second.get("c1")
            assert found is not None
            assert found.body == b"kept"


def test_no_byte_of_what_was_erased_is_left_in_the_files(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite3"
    with closing(SqliteContexts(path)) as store:
        mine: list[bytes] = []
        for number in range(400):
            person, secret = ("panna0marker", os.urandom(300)) if number % 3 else ("pbert", os.urandom(4000))
            conversation = f"talk-{person}-{number}"
            store.claim(conversation, Holder("default", person, "desk"), NOW)
            store.keep(
                kept(f"c-{person}-{number}", at=NOW + number, body=secret, conversation=conversation, person=person)
            )
            store.add_turns([turn(conversation, f"t{number}", person=person, text=f"words of {person}")])
            if number % 3:
                mine.append(zlib.compress(secret, 3)[20:60])
        before = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"panna0marker" in before
        assert all(part in before for part in mine)
        assert store.erase("default", ["panna0marker"], [], []) == 2 * len(mine)
        after = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"panna0marker" not in after
        assert not any(part in after for part in mine)
        assert store.get("c-pbert-0") is not None


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    with closing(SqliteContexts(tmp_path / "new" / "c.sqlite3")) as store:
        store.keep(kept("c1"))
        files = list((tmp_path / "new").iterdir())
        assert any(file.name.endswith("-wal") for file in files)
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_read_of_an_absent_store_makes_no_file(tmp_path: Path) -> None:
    with closing(SqliteContexts(tmp_path / "c.sqlite3")) as store:
        store.get("c1")
        store.erase("default", ["panna"], [], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"no database" * 1000),
        lambda path: path.write_bytes(b""),
        lambda path: _foreign(path, 7, 1),
        lambda path: _foreign(path, 0x48524358, 99),
    ],
    ids=["text", "empty", "foreign", "of a later layout"],
)
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "c.sqlite3"
    make(path)
    before = path.read_bytes()
    with closing(SqliteContexts(path)) as store, pytest.raises(StoreError):
        store.keep(kept("c1"))
    assert path.read_bytes() == before


def test_a_store_that_is_put_in_the_place_of_another_is_seen(tmp_path: Path) -> None:
    first, second = tmp_path / "c.sqlite3", tmp_path / "d.sqlite3"
    with closing(SqliteContexts(second)) as other:
        other.keep(kept("new"))
    with closing(SqliteContexts(first)) as store:
        store.keep(kept("old"))
        store.close()
        second.replace(first)
        assert store.get("old") is None
        assert store.get("new") is not None


def test_threads_keep_and_read_at_once(store: ContextStore) -> None:
    faults: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(60):
                body = f"{name}-{number}".encode() * 50
                store.keep(kept(f"{name}-{number}", body=body, conversation=name))
                found = store.get(f"{name}-{number}")
                assert found is not None
                assert found.body == body
                assert store.claim(f"talk-{number}", Holder("", "", name), NOW) == store.holder(f"talk-{number}")
        except BaseException as error:  # told by the test's own thread
            faults.append(error)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert all(len(store.of_conversation(f"t{number}", 100)) == 60 for number in range(8))


def _keep_many(path: Path, name: str, count: int) -> None:
    with closing(SqliteContexts(path)) as store:
        for number in range(count):
            store.keep(kept(f"{name}-{number}", at=NOW + number, conversation="shared"))
            store.claim(f"talk-{number}", Holder("", "", name), NOW)


def test_processes_make_one_store_together_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.sqlite3"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_keep_many, args=(path, f"p{number}", 100)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    with closing(SqliteContexts(path)) as store:
        assert len(store.of_conversation("shared", 1000)) == 400
        assert all(store.holder(f"talk-{number}") is not None for number in range(100))
    assert {file.name for file in path.parent.iterdir()} <= {"c.sqlite3", "c.sqlite3-wal", "c.sqlite3-shm"}


_KEEPING = """
import sys
from pathlib import Path
from tests.contract.test_contexts import kept
from stores.contexts.sqlite import SqliteContexts
store = SqliteContexts(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    store.keep(kept(f"c{number}", body=f"body {number} ".encode() * 500, conversation="k"))
    print(number, flush=True)
    number += 1
"""


def test_what_was_kept_outlives_a_killed_process(tmp_path: Path) -> None:
    path, done = tmp_path / "c.sqlite3", -1
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _KEEPING, str(path), str(done + 1)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert process.stdout is not None
        until = time.monotonic() + 60
        enough = done + 40 + 17 * round_
        while done < enough:
            assert time.monotonic() < until
            done = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().split()
        process.wait(30)
        process.stdout.close()
        done = max([done, *(int(line) for line in said)])
        with closing(SqliteContexts(path)) as store:
            for number in range(done + 1):
                found = store.get(f"c{number}")
                assert found is not None
                assert found.body == f"body {number} ".encode() * 500
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _pruned(store: ContextStore, before: int, most_bytes: int) -> int:
    """Prune as long as something goes; return how much went."""
    gone = 0
    while part := store.prune(before, most_bytes):
        gone += part
    return gone


def _foreign(path: Path, application: int, version: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE other (x)")
        db.execute(f"PRAGMA application_id = {application}")
        db.execute(f"PRAGMA user_version = {version}")
