from __future__ import annotations

import hashlib
import logging
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from events.errors import StoreError
from stores.documents.batch import DocumentBatch
from stores.documents.files import Fingerprint, PassingError, read
from tests.stores import folder_samples
from tests.stores.folder_samples import NAME, OLD, Desk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_an_empty_folder_is_caught_up_at_once(root: Path) -> None:
    batch = Desk(root).turn()
    assert batch is not None
    assert (batch.changes, batch.dead) == ([], [])
    assert (batch.mark.source, batch.mark.partition, batch.mark.offset) == (NAME, "0", 1)
    assert batch.mark.caught_up
    assert batch.mark.event_time is None


def test_the_first_scan_goes_by_path_and_says_what_it_knows_of_each_document(root: Path) -> None:
    desk = Desk(root, audiences={"b/**": ["board"]})
    desk.write("b/z.MD", "two")
    desk.write("a.txt", "one", at=OLD + 5)
    [batch] = desk.settle()
    first, second = batch.changes
    assert [(c.uri, c.content, c.position, c.event_time) for c in (first, second)] == [
        ("a.txt", b"one", 1, (OLD + 5) * 1000),
        ("b/z.MD", b"two", 2, OLD * 1000),
    ]
    assert [(c.media_type, c.audience, c.source) for c in (first, second)] == [
        ("text/plain", ("public",), NAME),
        ("text/markdown", ("board",), NAME),
    ]
    expected = hashlib.blake2b(b"one", digest_size=16).hexdigest()
    assert first.fingerprint.split(":")[:3] == ["3", str((OLD + 5) * 10**9), expected]
    assert (batch.mark.offset, batch.mark.event_time, batch.mark.done, batch.mark.total) == (3, (OLD + 5) * 1000, 2, 2)


def test_the_first_scan_comes_in_bounded_batches_and_is_caught_up_only_at_its_end(root: Path) -> None:
    desk = Desk(root)
    for number in range(150):
        desk.write(f"{number:03}.md", str(number))
    batches = desk.settle()
    assert [change.uri for batch in batches for change in batch.changes] == [f"{number:03}.md" for number in range(150)]
    assert max(len(batch.changes) for batch in batches) <= 64
    progress = [(batch.mark.done, batch.mark.total, batch.mark.caught_up) for batch in batches]
    assert [caught_up for _, _, caught_up in progress] == [False] * (len(batches) - 1) + [True]
    assert progress[-1][:2] == (150, 150)
    assert sorted(progress) == progress
    desk.write("late.md", "x")
    assert [(batch.mark.done, batch.mark.total) for batch in desk.settle("late.md")] == [(0, 0)]


def test_batches_are_bounded_by_bytes_too(root: Path) -> None:
    desk = Desk(root)
    for number in range(5):
        desk.write(f"{number}.md", b"x" * 200_000)
    sizes = [sum(len(change.content or b"") for change in batch.changes) for batch in desk.settle()]
    assert sizes == [400_000, 400_000, 200_000]


def test_a_restart_hands_on_only_what_differs(root: Path) -> None:
    desk = Desk(root)
    for name in ("same.md", "touched.md", "edited.md", "gone.md", "same size.md"):
        desk.write(name, "before")
    desk.settle()
    desk.write("touched.md", "before", at=OLD + 1)
    desk.write("edited.md", "after edit")
    desk.write("same size.md", "BEFORE", at=OLD + 1)
    (root / "gone.md").unlink()
    desk.write("new.md", "new")
    again = Desk(root, desk.store, desk.clock)
    assert again.changed() == [
        ("upsert", "edited.md"),
        ("upsert", "new.md"),
        ("upsert", "same size.md"),
        ("delete", "gone.md"),
    ]
    assert [change.position for change in desk.store.changes] == list(range(1, 10))


def test_a_restart_does_not_read_what_has_kept_size_and_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(root)
    desk.write("a.md", "kept")
    desk.settle()

    def refuse(*_: object) -> None:
        message = "it was read"
        raise AssertionError(message)

    monkeypatch.setattr("stores.documents.intake.read", refuse)
    assert Desk(root, desk.store, desk.clock).changed() == []


def test_a_second_edit_within_the_tick_of_the_first_is_found_after_a_restart(root: Path) -> None:
    desk = Desk(root)
    moment = desk.clock.now // 1000
    desk.write("a.md", "one", at=moment)
    desk.settle()
    desk.write("a.md", "two", at=moment)
    again = Desk(root, desk.store, desk.clock)
    assert again.changed() == [("upsert", "a.md")]
    assert again.store.contents() == {"a.md": b"two"}


def test_a_touched_file_is_not_handed_on_and_its_time_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(root)
    desk.write("a.md", "one")
    desk.settle()
    os.utime(root / "a.md", (OLD + 9, OLD + 9))
    assert desk.changed("a.md") == []
    reads: list[object] = []
    monkeypatch.setattr("stores.documents.intake.read", lambda *arguments: reads.append(arguments))
    assert desk.changed("a.md") == []
    assert reads == []


def test_an_edit_that_keeps_size_and_time_is_found_while_watching(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "one")
    desk.settle()
    desk.write("a.md", "two")
    assert desk.changed("a.md") == [("upsert", "a.md")]


def test_changed_rules_hand_the_document_on_again(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "one")
    desk.settle()
    again = Desk(root, desk.store, desk.clock, audience=["board"])
    assert again.changed() == [("upsert", "a.md")]
    assert again.store.documents["a.md"].audience == ("board",)


def test_documents_that_are_not_included_any_more_are_deleted(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "one")
    desk.write("b/c.md", "two")
    desk.settle()
    again = Desk(root, desk.store, desk.clock, exclude=["b/**"])
    assert again.changed() == [("delete", "b/c.md")]


def test_a_path_is_looked_at_only_when_it_is_quiet(root: Path) -> None:
    desk = Desk(root)
    desk.settle()
    for content in ("o", "on", "one"):
        desk.write("a.md", content)
        desk.watch.paths.add("a.md")
        assert desk.turn(19) is None
    assert desk.turn(19) is None
    batch = desk.turn(1)
    assert batch is not None
    assert [change.content for change in batch.changes] == [b"one"]


def test_a_file_that_its_writer_has_closed_is_looked_at_at_once_but_not_again_and_again(root: Path) -> None:
    desk = Desk(root)
    desk.settle()
    handed_on = []
    for number in range(4):
        desk.write("a.md", f"version {number}")
        desk.watch.paths.add("a.md")
        desk.watch.settled.add("a.md")
        batch = desk.turn(5)
        handed_on.append(batch is not None)
    assert handed_on == [True, False, False, False]
    batch = desk.turn(20)
    assert batch is not None
    assert [change.content for change in batch.changes] == [b"version 3"]


def test_a_path_that_is_never_quiet_is_handed_on_every_two_seconds(root: Path) -> None:
    desk = Desk(root)
    desk.settle()
    moments = []
    start = desk.clock.now
    for number in range(500):
        desk.write("log.txt", "x" * number)
        desk.watch.paths.add("log.txt")
        batch = desk.turn(10)
        if batch is not None and batch.changes:
            assert not batch.mark.caught_up or batch.changes[0].content == b"x" * number
            moments.append(desk.clock.now - start)
    assert len(moments) == 2
    assert [later - earlier >= 2_000 for earlier, later in pairwise([0, *moments])] == [True, True]


def test_a_file_that_changes_while_it_is_read_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(root)
    desk.write("a.md", "torn")
    attempts = []

    def tear(*arguments: object) -> object:
        attempts.append(desk.clock.now)
        if len(attempts) <= 3:
            message = "it changes while it is read"
            raise PassingError(message)
        return read(*arguments)  # type: ignore[arg-type]  # handed through as they came

    monkeypatch.setattr("stores.documents.intake.read", tear)
    batches = desk.settle()
    assert [change.content for batch in batches for change in batch.changes] == [b"torn"]
    assert [batch.mark.caught_up for batch in batches] == [True]
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert pauses == sorted(pauses)
    assert len(attempts) == 4


def test_what_grows_while_it_is_read_is_not_taken_for_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "a.md"
    file.write_bytes(b"first half")
    really = os.read

    def grow(descriptor: int, length: int) -> bytes:
        with file.open("ab") as writer:
            writer.write(b"!")
        return really(descriptor, length)

    monkeypatch.setattr(os, "read", grow)
    with pytest.raises(PassingError):
        read(str(root), "a.md", 1_000)


def test_a_file_that_is_deleted_while_it_is_read_ends_as_deleted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(root)
    desk.write("a.md", "first")
    desk.write("b.md", "stays")
    desk.settle()
    file = desk.write("a.md", "second")
    really = os.read

    def snatch(descriptor: int, length: int) -> bytes:
        file.unlink(missing_ok=True)
        return really(descriptor, length)

    monkeypatch.setattr(os, "read", snatch)
    changes = desk.changed("a.md")
    desk.clock.now += 1_000
    changes += desk.changed("a.md")
    assert changes[-1] == ("delete", "a.md")
    assert desk.store.contents() == {"b.md": b"stays"}


def test_a_rename_is_one_upsert_and_one_delete_that_name_each_other(root: Path) -> None:
    desk = Desk(root)
    desk.write("z.md", "text")
    desk.settle()
    (root / "z.md").rename(root / "a.md")
    [batch] = [batch for batch in desk.settle("a.md", "z.md") if batch.changes]
    assert [(c.op, c.uri, c.moved) for c in batch.changes] == [("upsert", "a.md", "z.md"), ("delete", "z.md", "a.md")]


def test_a_renamed_directory_moves_all_of_its_documents(root: Path) -> None:
    desk = Desk(root)
    for number in range(100):
        desk.write(f"old/{number % 3}/{number}.md", "same text")
    desk.settle()
    (root / "old").rename(root / "new")
    batches = desk.settle("old", "new")
    moves = {change.moved: change.uri for batch in batches for change in batch.changes if change.op == "upsert"}
    assert moves == {f"old/{n % 3}/{n}.md": f"new/{n % 3}/{n}.md" for n in range(100)}
    assert sorted(desk.store.documents) == sorted(moves.values())
    for batch in batches:
        upserts = {change.uri: change.moved for change in batch.changes if change.op == "upsert"}
        assert {change.moved: change.uri for change in batch.changes if change.op == "delete"} == upserts


def test_a_rename_while_nobody_looked_is_recognised_by_the_restart(root: Path) -> None:
    desk = Desk(root)
    desk.write("a/x.md", "text")
    desk.settle()
    (root / "a").rename(root / "0")
    again = Desk(root, desk.store, desk.clock, live=False)
    batch = again.turn()
    assert batch is not None
    assert [(c.op, c.uri, c.moved) for c in batch.changes] == [
        ("upsert", "0/x.md", "a/x.md"),
        ("delete", "a/x.md", "0/x.md"),
    ]


def test_a_copy_is_not_a_rename(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "text")
    desk.settle()
    desk.write("b.md", "text")
    [batch] = [batch for batch in desk.settle("a.md", "b.md") if batch.changes]
    assert [(change.op, change.uri, change.moved) for change in batch.changes] == [("upsert", "b.md", "")]


def test_a_document_that_comes_back_within_the_time_of_grace_is_not_deleted(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "before")
    desk.settle()
    (root / "a.md").unlink()
    desk.watch.paths.add("a.md")
    assert [desk.turn(25), desk.turn(25), desk.turn(25)] == [None, None, None]
    desk.write("a.md", "after")
    assert desk.changed("a.md") == [("upsert", "a.md")]


def test_a_document_that_comes_back_without_a_hint_is_not_deleted(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "before")
    desk.settle()
    (root / "a.md").unlink()
    desk.watch.paths.add("a.md")
    desk.turn()
    desk.turn(25)
    desk.write("a.md", "after")
    assert desk.changed() == [("upsert", "a.md")]


def test_a_copy_made_while_the_original_is_being_saved_is_not_a_rename(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "text")
    desk.settle()
    (root / "a.md").unlink()
    desk.watch.paths.add("a.md")
    desk.turn()
    desk.turn(25)
    desk.write("a.md", "text")
    desk.write("b.md", "text")
    assert desk.changed("b.md") == [("upsert", "b.md")]
    assert desk.store.documents["b.md"].moved == ""
    assert sorted(desk.store.documents) == ["a.md", "b.md"]


def test_nothing_is_claimed_while_a_document_is_missing(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "before")
    desk.settle()
    (root / "a.md").unlink()
    assert [(batch.mark.caught_up, [c.op for c in batch.changes]) for batch in desk.settle("a.md")] == [
        (True, ["delete"])
    ]


def test_a_removed_directory_takes_its_documents_with_it(root: Path) -> None:
    desk = Desk(root)
    for name in ("a/b/1.md", "a/2.md", "ab/3.md"):
        desk.write(name, name)
    desk.settle()
    shutil.rmtree(root / "a")
    assert desk.changed("a") == [("delete", "a/2.md"), ("delete", "a/b/1.md")]


def test_a_file_in_the_place_of_a_directory_and_back(root: Path) -> None:
    desk = Desk(root)
    desk.write("x.md/inner.md", "inner")
    desk.settle()
    shutil.rmtree(root / "x.md")
    desk.write("x.md", "outer")
    assert desk.changed("x.md") == [("upsert", "x.md"), ("delete", "x.md/inner.md")]
    (root / "x.md").unlink()
    desk.write("x.md/inner.md", "inner")
    assert desk.changed("x.md") == [("upsert", "x.md/inner.md"), ("delete", "x.md")]


def test_a_vanished_folder_keeps_its_documents_until_it_is_back(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(root)
    desk.write("a.md", "one")
    desk.write("b.md", "two")
    desk.settle()
    root.rename(root.with_name("elsewhere"))
    desk.watch.paths |= {"", "a.md", "b.md"}
    batches = [batch for batch in (desk.turn(100) for _ in range(100)) if batch]
    assert [(batch.changes, batch.mark.caught_up) for batch in batches] == [([], False)] * 2
    assert [record.getMessage().count("has vanished") for record in caplog.records] == [1]
    root.with_name("elsewhere").rename(root)
    desk.write("b.md", "changed meanwhile")
    assert desk.changed() == [("upsert", "b.md")]
    assert desk.watches == 2


def test_another_folder_in_the_place_of_the_first_is_read_anew(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "one")
    desk.write("b.md", "two")
    desk.settle()
    shutil.copytree(root, root.with_name("release"))
    shutil.rmtree(root)
    root.with_name("release").rename(root)
    (root / "b.md").unlink()
    assert desk.changed() == [("delete", "b.md")]


def test_a_folder_behind_a_link_follows_the_link(root: Path) -> None:
    link = root.with_name("current")
    link.symlink_to(root)
    (root / "a.md").write_text("one")
    desk = Desk(link)
    desk.settle()
    other = root.with_name("next")
    other.mkdir()
    (other / "a.md").write_text("two!")
    link.unlink()
    link.symlink_to(other)
    assert desk.changed() == [("upsert", "a.md")]
    assert desk.store.contents() == {"a.md": b"two!"}


def test_a_lost_hint_is_made_up_for_by_a_whole_walk(root: Path) -> None:
    desk = Desk(root)
    desk.settle()
    desk.write("a.md", "one")
    desk.watch.lost = True
    assert desk.changed() == [("upsert", "a.md")]


def test_the_whole_folder_is_walked_from_time_to_time(root: Path) -> None:
    desk = Desk(root, rescan_seconds=60)
    desk.settle()
    desk.write("a.md", "one")
    found = [batch for batch in (desk.turn(1_000) for _ in range(61)) if batch is not None and batch.changes]
    assert [change.uri for batch in found for change in batch.changes] == ["a.md"]


def test_where_watching_fails_the_folder_is_polled_and_that_is_said_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(root)
    desk.watch.trouble = "the limit is reached"
    desk.settle()
    desk.write("a.md", "one")
    batches = [batch for batch in (desk.turn(100) for _ in range(60)) if batch]
    assert [change.uri for batch in batches for change in batch.changes] == ["a.md"]
    assert all(batch.mark.read_at <= desk.clock.now - 100 for batch in batches if batch.mark.caught_up)
    assert [record.getMessage().endswith("the limit is reached") for record in caplog.records] == [True]


def test_every_directory_is_watched_before_it_is_listed(root: Path) -> None:
    desk = Desk(root)
    desk.write("a/b/c.md", "one")
    desk.write(".git/d.md", "two")
    desk.settle()
    assert desk.watch.added == ["", "a", "a/b"]


def test_an_idle_folder_says_so_at_each_heartbeat(root: Path) -> None:
    desk = Desk(root)
    desk.settle()
    start = desk.clock.now
    beats: list[tuple[int, DocumentBatch]] = []
    for _ in range(160):
        batch = desk.turn(100)
        if batch is not None:
            beats.append((desk.clock.now - start, batch))
    assert [moment for moment, _ in beats] == [5_000, 10_000, 15_000]
    assert all(batch.mark.caught_up and batch.mark.read_at == start + moment for moment, batch in beats)


def test_a_busy_file_that_is_no_document_changes_nothing(root: Path) -> None:
    desk = Desk(root)
    desk.settle()
    for number in range(60):
        desk.write("app.log", str(number))
        desk.write(".cache/x.md", str(number))
        desk.watch.paths |= {"app.log", ".cache", ".cache/x.md"}
        batch = desk.turn(10)
        assert batch is None


def test_a_requested_document_is_handed_on_though_it_is_unchanged(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "one")
    desk.write("big.md", "x" * 200)
    desk.settle()
    desk.requests = ["a.md", "missing.md", "../outside.md", "/etc/passwd", "nul\0.md", ".hidden.md", ""]
    desk.clock.now += 100
    assert desk.changed() == [("upsert", "a.md")]
    assert desk.store.dead == []


def test_a_requested_dead_letter_is_said_again(root: Path) -> None:
    desk = Desk(root, max_document_bytes=100)
    desk.write("big.md", "x" * 200)
    desk.settle()
    desk.requests = ["big.md"]
    desk.clock.now += 100
    desk.settle()
    assert [letter.record.key for letter in desk.store.dead] == [b"big.md", b"big.md"]
    assert len({letter.id for letter in desk.store.dead}) == 1


def test_what_is_skipped_is_said_once_by_type(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(root)
    for name in ("a.png", "b/c.PNG", "d.zip", "e.md", ".hidden.png", "Makefile"):
        desk.write(name, "x")
    with caplog.at_level(logging.INFO):
        desk.settle()
        desk.clock.now += 400_000
        desk.settle()
    [line] = [record.getMessage() for record in caplog.records]
    assert line.endswith("skipped 4 files of types not included: .png (2), .zip (1), no extension (1)")


def test_a_replay_reads_the_folder_once_under_a_clock_that_stands_still(root: Path) -> None:
    desk = Desk(root, live=False)
    for number in range(100):
        desk.write(f"{number:03}.md", "x")
    while not desk.reader.finished:
        assert desk.turn() is not None
    assert len(desk.store.documents) == 100
    assert [mark.caught_up for mark in desk.store.marks][-1]
    assert desk.watches == 0


def test_a_folder_that_vanishes_during_a_replay_stops_it(root: Path) -> None:
    desk = Desk(root, live=False)
    for number in range(100):
        desk.write(f"{number}.md", "x")
    desk.turn()
    shutil.rmtree(root)
    with pytest.raises(StoreError, match="vanished"):
        desk.turn()


def test_times_in_the_future_are_not_believed(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "x", at=desk.clock.now // 1000 + 86_400)
    [batch] = desk.settle()
    assert batch.changes[0].event_time == desk.clock.now
    assert batch.mark.event_time == desk.clock.now


@pytest.mark.parametrize("text", ["", "3:4", "x:y:z:w", "1:2:3:4:5", "3:4:5:6"])
def test_a_foreign_fingerprint_only_means_that_the_file_is_read(text: str) -> None:
    parsed = Fingerprint.parse(text)
    assert parsed.digest != hashlib.blake2b(b"", digest_size=16).hexdigest()


def test_the_samples_know_their_types() -> None:
    assert folder_samples.media_type_of("a/B.MD") == "text/markdown"
