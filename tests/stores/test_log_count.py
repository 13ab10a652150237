"""Records are counted between two offsets, over all files of a partition, whatever comes and goes meanwhile."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from events.log import LogRecord
from stores.log.files import FileLog

NOW = 1_800_000_000_000


def filled(folder: Path, sizes: list[int], segment_bytes: int = 64 * 2**20) -> tuple[FileLog, list[int]]:
    """Return a log with one partition of records of these sizes, and the offset behind each."""
    log = FileLog(folder, partitions=1, segment_bytes=segment_bytes)
    ends = []
    for size in sizes:
        log.append("s", [LogRecord("s", 0, 0, NOW, b"k", b'"' + b"x" * size + b'"')])
        ends.append(log.bounds("s", 0)[1])
    return log, ends


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_as_many_records_are_counted_as_were_appended_between_two_offsets(sizes: list[int], a: int, b: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log, ends = filled(Path(folder), sizes, segment_bytes=1024)
        places = [0, *ends]
        begin, end = min(a, len(sizes)), min(b, len(sizes))
        assert log.count("s", 0, places[begin], places[end]) == max(0, end - begin)


def test_a_record_counts_once_it_is_whole(tmp_path: Path) -> None:
    log, ends = filled(tmp_path, [10, 10])
    assert log.count("s", 0, 0, ends[1] - 1) == 1
    assert log.count("s", 0, ends[0] - 1, ends[1]) == 2


def test_what_is_not_there_has_no_records(tmp_path: Path) -> None:
    log, ends = filled(tmp_path, [10])
    assert log.count("s", 0, ends[0], ends[0] + 10_000) == 0
    assert log.count("s", 7, 0, 10_000) == 0
    assert log.count("absent", 0, 0, 10_000) == 0


def test_what_retention_has_removed_is_not_counted(tmp_path: Path) -> None:
    log, ends = filled(tmp_path, [600] * 6, segment_bytes=1024)
    oldest = log.bounds("s", 0)[0]
    log.retain("s", NOW + 1)
    kept = log.bounds("s", 0)[0]
    assert kept > oldest
    assert log.count("s", 0, 0, ends[-1]) == len([end for end in ends if end > kept])
