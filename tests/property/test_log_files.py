"""The log on files gives back exactly what it was given, for any bytes, sizes of segments and limits of reads."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from events.log import LogRecord
from stores.log.files import FileLog

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
JSON_BYTES = st.builds(
    lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode(),
    JSON,
    st.none() | st.integers(0, 2),
    st.booleans(),
)
ALMOST_JSON = st.builds(
    lambda value, place, byte: value[:place] + byte + value[place:],
    JSON_BYTES,
    st.integers(0, 40),
    st.binary(max_size=2),
)
BYTES = st.binary(max_size=60) | JSON_BYTES | ALMOST_JSON | TEXTS.map(str.encode)
RECORDS = st.builds(
    LogRecord,
    st.just("s"),
    st.just(0),
    st.just(0),
    st.integers(-62_135_596_800_000, 253_402_300_799_999),
    st.none() | BYTES,
    st.none() | BYTES,
    st.dictionaries(TEXTS, TEXTS, max_size=3),
)


def plain(record: LogRecord) -> tuple[int, bytes | None, bytes | None, dict[str, str]]:
    return record.event_time, record.key, record.value, record.headers


def read(log: FileLog, partition: int, limits: list[int]) -> list[LogRecord]:
    offset = log.bounds("s", partition)[0]
    records: list[LogRecord] = []
    turn = 0
    while offset < log.bounds("s", partition)[1]:
        some, offset = log.read("s", partition, offset, limits[turn % len(limits)])
        assert len(some) <= limits[turn % len(limits)]
        records += some
        turn += 1
    return records


@given(
    batches=st.lists(st.lists(RECORDS, max_size=6), max_size=6),
    partitions=st.integers(1, 5),
    segment_bytes=st.integers(1, 2000),
    limits=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    handles=st.integers(1, 3),
)
def test_every_record_comes_back_once_and_in_order(
    batches: list[list[LogRecord]], partitions: int, segment_bytes: int, limits: list[int], handles: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs = [FileLog(Path(folder), partitions=partitions, segment_bytes=segment_bytes) for _ in range(handles)]
        for turn, batch in enumerate(batches):
            logs[turn % handles].append("s", batch)

        found = {partition: read(logs[0], partition, limits) for partition in logs[0].partitions("s")}

        given_all = [record for batch in batches for record in batch]
        assert sorted(map(repr, map(plain, given_all))) == sorted(
            repr(plain(record)) for records in found.values() for record in records
        )
        for key in {record.key for record in given_all} - {None}:
            expected = [plain(record) for record in given_all if record.key == key]
            runs = [[plain(r) for r in records if r.key == key] for records in found.values()]
            assert [run for run in runs if run] == [expected]
        for partition, records in found.items():
            offsets = [record.offset for record in records]
            assert offsets == sorted(set(offsets))
            for record in records[:: max(1, len(records) // 3)]:
                assert logs[-1].read("s", partition, record.offset, 1)[0] == [record]


@given(content=st.binary(max_size=300), limits=st.lists(st.integers(1, 5), min_size=1), longest=st.integers(1, 400))
def test_any_file_is_read_line_by_line_and_nothing_of_it_is_passed_over(
    content: bytes, limits: list[int], longest: int
) -> None:
    whole = content[: content.rfind(b"\n") + 1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s", "0000.jsonl")
        path.parent.mkdir()
        path.write_bytes(content)
        log = FileLog(Path(folder), max_line_bytes=longest)

        found = read(log, 0, limits)

        assert log.bounds("s", 0) == (0, len(whole))
        assert log.unfinished("s", 0) == len(content) - len(whole)
        expected = []
        place = 0
        for line in whole.split(b"\n")[:-1]:
            if line.strip(b" \t\n\r\x0b\x0c") or len(line) > longest:
                expected.append((place, line))
            place += len(line) + 1
        assert [(record.offset, record.value) for record in found] == expected
        assert all("headrace-broken" in record.headers for record in found)


@given(
    records=st.lists(RECORDS, min_size=1, max_size=20),
    segment_bytes=st.integers(1, 1000),
    newer_than=st.integers(-62_135_596_800_000, 253_402_300_799_999),
)
def test_retention_removes_only_older_records_and_only_from_the_front(
    records: list[LogRecord], segment_bytes: int, newer_than: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = FileLog(Path(folder), partitions=1, segment_bytes=segment_bytes)
        for record in records:
            log.append("s", [record])
        before = read(log, 0, [7])
        size = sum(path.stat().st_size for path in Path(folder, "s").iterdir())

        freed = log.retain("s", newer_than)

        after = read(log, 0, [7])
        removed = before[: len(before) - len(after)]
        assert before == removed + after
        assert all(record.event_time < newer_than for record in removed)
        assert sum(path.stat().st_size for path in Path(folder, "s").iterdir()) == size - freed
