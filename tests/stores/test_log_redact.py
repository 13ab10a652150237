"""Taking content out of the log on files: what goes is gone from every byte, and no offset moves."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from events.erasure import ERASED
from events.errors import StoreError
from events.log import LogRecord
from stores.log.base import Redaction
from stores.log.files import FileLog

NOON = 1_793_534_400_000


def record(key: str, value: bytes | None, time: int = NOON) -> LogRecord:
    return LogRecord("", 0, 0, time, key.encode(), value)


def read_all(log: FileLog, stream: str = "crm") -> list[LogRecord]:
    found: list[LogRecord] = []
    for partition in log.partitions(stream):
        offset, end = log.bounds(stream, partition)
        while offset < end:
            records, offset = log.read(stream, partition, offset, 100)
            found += records
    return found


def of_anna(record: LogRecord) -> LogRecord | None:
    """Take out all of Anna's events, and her name from those of others."""
    if record.key == b"anna":
        return None
    if record.value is not None and b"Anna" in record.value:
        return msgspec.structs.replace(record, value=record.value.replace(b"Anna", b"****"))
    return record


def test_a_record_that_goes_is_passed_over_and_the_others_keep_their_offsets(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=2, segment_bytes=2_000)
    for _ in range(40):
        log.append("crm", [record(name, b'{"name":"%s"}' % name.encode()) for name in ("anna", "ben", "eve")])
    before = {one.offset: one for one in read_all(log) if one.partition == 0}
    ends = [log.bounds("crm", partition) for partition in (0, 1)]
    assert len(list((tmp_path / "crm").iterdir())) > 2

    assert log.redact("crm", of_anna) == Redaction(removed=40)

    after = [one for one in read_all(FileLog(tmp_path)) if ERASED not in one.headers]
    assert {one.offset: one for one in after if one.partition == 0} == {
        offset: one for offset, one in before.items() if one.key != b"anna"
    }
    assert len(after) == 80
    assert [log.bounds("crm", partition) for partition in (0, 1)] == ends
    assert not any(b"anna" in path.read_bytes() for path in (tmp_path / "crm").iterdir())


def test_what_stands_for_an_erased_record_says_when_and_nothing_else(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("crm", [record("anna", b'{"name":"Anna Maria da Silva","mail":"anna@example.org"}', NOON + 7)])
    log.redact("crm", of_anna)
    assert read_all(log) == [LogRecord("crm", 0, 0, NOON + 7, None, None, {ERASED: ""})]


def test_a_line_too_short_to_say_that_it_is_erased_becomes_blank(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("crm", [record("anna", None, 1), record("ben", None, 2)])
    (path,) = (tmp_path / "crm").iterdir()
    length = path.read_bytes().index(b"\n")
    log.redact("crm", of_anna)
    assert path.read_bytes()[: length + 1] == b" " * length + b"\n"
    assert [one.key for one in read_all(log)] == [b"ben"]


def test_a_part_can_go_and_the_rest_stays_byte_for_byte(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    given = [record("note", b'{"text" : "met Anna", "n":1.50}'), record("raw", b"\xff Anna \xfe"), record("x", b"{}")]
    log.append("crm", given)
    assert log.redact("crm", of_anna) == Redaction(reduced=2)
    assert [one.value for one in read_all(log)] == [b'{"text" : "met ****", "n":1.50}', b"\xff **** \xfe", b"{}"]


def test_a_part_goes_from_lines_written_by_hand_and_from_broken_ones(tmp_path: Path) -> None:
    folder = tmp_path / "crm"
    folder.mkdir()
    hand = b'{ "time": "2026-11-01T12:00:00Z", "key": "k",  "value": {"name": "Anna"} }\n'
    broken = b'{"time": 5, "value": {"name": "Anna"\n'
    (folder / "0000.jsonl").write_bytes(hand + b"\n" + broken)
    log = FileLog(tmp_path)
    assert log.redact("crm", of_anna) == Redaction(reduced=2)
    content = (folder / "0000.jsonl").read_bytes()
    assert len(content) == len(hand) + 1 + len(broken)
    assert b"Anna" not in content
    first, second = read_all(log)
    assert (first.event_time, first.value) == (NOON, b'{"name": "****"}')
    assert second.value is not None
    assert second.value.startswith(b'{"time": 5, "value": {"name": "****"')


def test_a_record_that_would_need_more_room_is_held(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("crm", [record("anna", b"1")])
    longer = log.redact("crm", lambda record: msgspec.structs.replace(record, value=b"1000"))
    assert longer == Redaction(held=1)
    assert [one.value for one in read_all(log)] == [b"1"]


def test_redacting_twice_finds_nothing_more(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("crm", [record("anna", b'{"name":"Anna","mail":"anna@example.org"}'), record("ben", b"1")])
    assert log.redact("crm", of_anna).removed == 1
    asked: list[bytes | None] = []
    assert log.redact("crm", lambda record: asked.append(record.key) or record) == Redaction()  # type: ignore[func-returns-value]  # notes and passes on
    assert asked == [b"ben"]


def test_a_stream_that_is_not_there_has_nothing_to_take_out(tmp_path: Path) -> None:
    assert FileLog(tmp_path / "log").redact("crm", of_anna) == Redaction()
    assert not (tmp_path / "log").exists()


def test_an_append_under_way_is_left_alone(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("crm", [record("ben", b"1")])
    (path,) = (tmp_path / "crm").iterdir()
    with path.open("ab") as file:
        file.write(b'{"time":1,"key":"anna"')
    assert log.redact("crm", of_anna) == Redaction()
    assert path.read_bytes().endswith(b'"anna"')


def test_a_log_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("crm", [record("anna", b'{"name":"Anna"}')])
    (path,) = (tmp_path / "crm").iterdir()
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="cannot erase in"):
        log.redact("crm", of_anna)
    path.rmdir()
    path.write_bytes(content)
    assert log.redact("crm", of_anna).removed == 1


@pytest.mark.parametrize("cut", [0, 1, 30, 60])
def test_a_line_whose_end_is_not_blank_yet_is_passed_over(tmp_path: Path, cut: int) -> None:
    """What a reader may see between the two writes of an erasure."""
    log = FileLog(tmp_path, partitions=1)
    log.append("crm", [record("anna", b'{"name":"Anna Maria da Silva","mail":"%s"}' % (b"a" * 300)), record("b", b"1")])
    (path,) = (tmp_path / "crm").iterdir()
    old = path.read_bytes()
    log.redact("crm", of_anna)
    new = path.read_bytes()
    head = new.index(b"}  ") + 1
    path.write_bytes(new[: head + cut] + old[head + cut :])
    assert [one.key for one in read_all(FileLog(tmp_path)) if ERASED not in one.headers] == [b"b"]


def test_appends_and_reads_go_on_while_content_is_taken_out(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1, segment_bytes=50_000)
    pad = b"y" * 200
    begun = threading.Event()
    done = threading.Event()

    def append() -> None:
        own = FileLog(tmp_path, partitions=1, segment_bytes=50_000)
        for number in range(300):
            own.append("crm", [record("anna", b'{"name":"Anna","pad":"%s"}' % pad), record("ben", b"%d" % number)])
            if number == 50:
                begun.set()
        done.set()

    seen: list[bytes | None] = []

    def read() -> None:
        own, offset = FileLog(tmp_path), 0
        while True:
            finished = done.is_set()
            records, offset = own.read("crm", 0, offset, 50)
            assert not any("headrace-broken" in one.headers for one in records)
            seen.extend(one.value for one in records if one.key == b"ben")
            if finished and not records and offset == own.bounds("crm", 0)[1]:
                return

    threads = [threading.Thread(target=work) for work in (append, read)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    while not done.is_set():
        log.redact("crm", of_anna)
    for thread in threads:
        thread.join(20)
    log.redact("crm", of_anna)
    assert seen == [b"%d" % number for number in range(300)]
    assert not any(b"Anna" in path.read_bytes() for path in (tmp_path / "crm").iterdir())
