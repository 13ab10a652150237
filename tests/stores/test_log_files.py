"""The log on files: its format, what a crash leaves behind, and many processes at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from events.errors import RejectedError, StoreError
from events.log import LogRecord
from stores.log.files import FileLog

DEADLINE_SECONDS = 60.0
ROOT = Path(__file__).parents[2]

# Appends records of the form "writer n": many small batches, so that many writers meet.
WRITER = """
import sys
from pathlib import Path
from events.log import LogRecord
from stores.log.files import FileLog

folder, name, first, count, segment_bytes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
log = FileLog(Path(folder), segment_bytes=segment_bytes)
print("ready", flush=True)
sys.stdin.readline()
n = first
while n < first + count:
    size = n % 9 + 1
    some = range(n, min(n + size, first + count))
    keys = [f"{name}-{i % 5}".encode() for i in some]
    log.append("s", [LogRecord("", 0, 0, i, k, b"%s %d %s" % (name.encode(), i, b"." * (i % 50)))
                     for i, k in zip(some, keys)])
    n += size
    print(n, flush=True)
"""


def start_writer(folder: Path, name: str, first: int, count: int, segment_bytes: int) -> subprocess.Popen[str]:
    arguments = [str(folder), name, str(first), str(count), str(segment_bytes)]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def release(*writers: subprocess.Popen[str]) -> None:
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()


def drain(log: FileLog, partition: int = 0, offset: int | None = None) -> list[LogRecord]:
    place = log.bounds("s", partition)[0] if offset is None else offset
    records: list[LogRecord] = []
    while True:
        some, place = log.read("s", partition, place, 100)
        if not some:
            return records
        records += some


def lay(folder: Path, content: bytes, name: str = "0000.jsonl") -> FileLog:
    (folder / "s").mkdir(parents=True, exist_ok=True)
    (folder / "s" / name).write_bytes(content)
    return FileLog(folder)


def plain(record: LogRecord) -> tuple[int, bytes | None, bytes | None, dict[str, str]]:
    return record.event_time, record.key, record.value, record.headers


def record(value: bytes, key: bytes | None = b"k", event_time: int = 0) -> LogRecord:
    return LogRecord("", 0, 0, event_time, key, value)


@pytest.mark.parametrize("name", ["0000.jsonl", "0000-0.jsonl", "0000-00000000000000000000.jsonl"])
def test_a_file_made_by_hand_is_read(tmp_path: Path, name: str) -> None:
    lines = [
        b'{"time":1700000000000,"key":"k","value":{"a" : 1.0},"headers":{"h":"v"}}',
        b"",
        b'  {"value": null, "note": ["unknown", {"keys": "are passed over"}], "time": "2023-11-14T22:13:20Z" } \r',
        b"   ",
        b'{"time":"2023-11-14T23:13:20.5+01:00","value":[]}',
        b'{"time":"2023-11-14","key":null,"value":"text"}',
        b'{"time":"2023-11-14 22:13:20","value_b64":"AP8=","key_b64":"/w=="}',
    ]
    log = lay(tmp_path, b"\n".join(lines) + b"\n", name)

    found = drain(log)

    assert [plain(r) for r in found] == [
        (1700000000000, b"k", b'{"a" : 1.0}', {"h": "v"}),
        (1700000000000, None, None, {}),
        (1700000000500, None, b"[]", {}),
        (1699920000000, None, b'"text"', {}),
        (1700000000000, b"\xff", b"\x00\xff", {}),
    ]
    starts = [sum(len(line) + 1 for line in lines[:n]) for n in (0, 2, 4, 5, 6)]
    assert [r.offset for r in found] == starts


def test_what_is_written_is_json_that_others_can_read(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("s", [LogRecord("", 0, 0, 5, b"k", b'{"a":"\xc3\xa4"}', {"h": "v"}), record(b"\xff"), record(b"x\ny")])
    lines = (tmp_path / "s" / f"0000-{0:020d}.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": 5, "key": "k", "value": {"a": "ä"}, "headers": {"h": "v"}},
        {"time": 0, "key": "k", "value_b64": "/w=="},
        {"time": 0, "key": "k", "value_b64": "eAp5"},
    ]


def test_a_file_made_by_hand_is_appended_to(tmp_path: Path) -> None:
    log = lay(tmp_path, b'{"time":1,"value":1}')
    log.append("s", [record(b"2")])
    assert [r.value for r in drain(log)] == [b"1", b"2"]
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["0000.jsonl"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"time":1,"value":{"a":', "ends midway"),
        (b'{"time":1,"value":{}} x', "trailing"),
        (b"not json", "malformed"),
        (b"[1]", "array"),
        (b"\x00\x00\x00", "malformed"),
        (b'{"value":1}', "`time`"),
        (b'{"time":1}', "`value`"),
        (b'{"time":true,"value":1}', r"\$\.time"),
        (b'{"time":1.5,"value":1}', r"\$\.time"),
        (b'{"time":1e99,"value":1}', "time"),
        (b'{"time":99999999999999999999999,"value":1}', "time"),
        (b'{"time":"yesterday","value":1}', "datetime"),
        (b'{"time":"2023-13-99","value":1}', "datetime"),
        (b'{"time":1,"key":5,"value":1}', r"\$\.key"),
        (b'{"time":1,"key":"\xff","value":1}', "utf-8"),
        (b'{"time":1,"key_b64":"!","value":1}', "key_b64"),
        (b'{"time":1,"value_b64":"!"}', "value_b64"),
        (b'{"time":1,"value":1,"headers":{"h":1}}', "headers"),
        (b'{"time":1,"value":' + b"[" * 5000 + b"]" * 5000 + b"}", "recursion"),
    ],
)
def test_a_broken_line_is_handed_on_with_its_bytes_and_its_fault(tmp_path: Path, line: bytes, fault: str) -> None:
    log = lay(tmp_path, b'{"time":1,"value":1}\n' + line + b'\n{"time":2,"value":2}\n')

    first, broken, last = drain(log)

    assert (first.value, last.value) == (b"1", b"2")
    assert (broken.value, broken.key, broken.offset) == (line, None, 21)
    assert list(broken.headers) == ["headrace-broken"]
    with pytest.raises(AssertionError, match=f"(?i){fault}"):
        raise AssertionError(broken.headers["headrace-broken"])
    assert log.read("s", 0, broken.offset, 1)[0] == [broken]


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    whole, torn = b'{"time":1,"value":1}\n', b'{"time":2,"value":{"text":"2"}}\n'
    log = lay(tmp_path, whole)
    offset = len(whole)
    assert log.read("s", 0, 0, 10)[1] == offset
    with (tmp_path / "s" / "0000.jsonl").open("ab", buffering=0) as file:
        for n, byte in enumerate(torn[:-1], 1):
            file.write(bytes([byte]))
            assert log.read("s", 0, offset, 10) == ([], offset)
            assert log.bounds("s", 0) == (0, offset)
            assert log.unfinished("s", 0) == n
        file.write(b"\n")
    assert [r.value for r in log.read("s", 0, offset, 10)[0]] == [b'{"text":"2"}']
    assert log.unfinished("s", 0) == 0


def test_what_a_crashed_writer_left_torn_is_closed_by_the_next_one(tmp_path: Path) -> None:
    log = lay(tmp_path, b'{"time":1,"value":1}\n{"time":2,"va')
    reader = FileLog(tmp_path)
    assert [r.value for r in drain(reader)] == [b"1"]

    log.append("s", [record(b"3"), record(b"4")])

    found = drain(reader, offset=21)
    assert [r.value for r in found] == [b'{"time":2,"va', b"3", b"4"]
    assert [r.headers for r in found] == [
        {"headrace-broken": "the line ends midway, as if what wrote it had been stopped"},
        {},
        {},
    ]


def test_a_torn_line_is_closed_before_a_segment_is(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1, segment_bytes=10)
    log.append("s", [record(b"1")])
    (path,) = (tmp_path / "s").iterdir()
    with path.open("ab") as file:
        file.write(b'{"time":')
    log.append("s", [record(b"2")])
    assert [r.value for r in drain(log)] == [b"1", b'{"time":', b"2"]
    assert len(list((tmp_path / "s").iterdir())) == 2


def test_a_line_over_the_limit_is_broken_and_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    size = 40 * 2**20
    log = lay(tmp_path, b'{"time":1,"value":1}\n')
    with (tmp_path / "s" / "0000.jsonl").open("ab") as file:
        file.write(b'{"time":2,"value":"')
        for _ in range(40):
            file.write(b"x" * 2**20)
    log = FileLog(tmp_path, max_line_bytes=2**20)
    tracemalloc.start()
    try:
        assert [r.value for r in drain(log)] == [b"1"]
        assert log.read("s", 0, 21, 1) == ([], 21)
        with (tmp_path / "s" / "0000.jsonl").open("ab") as file:
            file.write(b'"}\n{"time":3,"value":3}\n')
        broken, last = drain(log, offset=21)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * 2**20
    length = size + len(b'{"time":2,"value":""}')
    assert broken.headers["headrace-broken"].startswith(f"the line has {length} bytes")
    assert broken.value is not None
    assert broken.value.startswith(b'{"time":2,"value":"xxx')
    assert (last.value, last.offset) == (b"3", 21 + length + 1)


def test_a_record_over_the_limit_is_refused_and_so_is_the_rest_of_its_batch(tmp_path: Path) -> None:
    log = FileLog(tmp_path, max_line_bytes=1000)
    with pytest.raises(RejectedError, match="over 1000"):
        log.append("s", [record(b"1"), record(b"x" * 1000)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    [
        LogRecord("", 0, 0, 2**63, None, b"1"),
        LogRecord("", 0, 0, -(2**63), None, b"1"),
        LogRecord("", 0, 0, 0, None, b"1", {"h": "\ud800"}),
    ],
)
def test_a_record_that_cannot_be_written_is_refused(tmp_path: Path, bad: LogRecord) -> None:
    with pytest.raises(RejectedError):
        FileLog(tmp_path).append("s", [bad])


def test_deep_json_comes_back_too(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    values = [b"[" * depth + b"]" * depth for depth in (90, 110, 400, 700, 900, 5000)]
    log.append("s", [record(value) for value in values])
    assert [(r.value, r.headers) for r in drain(log)] == [(value, {}) for value in values]


def test_segments_begin_where_the_one_before_ends(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1, segment_bytes=200)
    for n in range(50):
        log.append("s", [record(b"%d" % n)])
    paths = sorted((tmp_path / "s").iterdir())
    assert len(paths) > 5
    base = 0
    for path in paths:
        assert path.name == f"0000-{base:020d}.jsonl"
        base += path.stat().st_size
    assert log.bounds("s", 0) == (0, base)
    assert [r.value for r in drain(log)] == [b"%d" % n for n in range(50)]
    assert [r.value for r in drain(log, offset=int(paths[3].name[5:25]))][-1] == b"49"


def test_a_writer_of_larger_segments_goes_on_where_one_of_smaller_has_begun(tmp_path: Path) -> None:
    large, small = FileLog(tmp_path, partitions=1), FileLog(tmp_path, segment_bytes=10)
    for n in range(0, 20, 2):
        large.append("s", [record(b"%d" % n)])
        small.append("s", [record(b"%d" % (n + 1))])
    assert [r.value for r in drain(FileLog(tmp_path))] == [b"%d" % n for n in range(20)]


def test_a_partition_made_within_the_same_tick_of_the_file_system_is_written_to(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("s", [record(b"0", None)])
    status = (tmp_path / "s").stat()
    FileLog(tmp_path).create("s", 2)
    os.utime(tmp_path / "s", ns=(status.st_atime_ns, status.st_mtime_ns))
    log.append("s", [record(b"%d" % n, None) for n in range(4)])
    assert len(drain(log, 1)) == 2


def test_a_missing_segment_is_reported_and_not_passed_over(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1, segment_bytes=200)
    for n in range(50):
        log.append("s", [record(b"%d" % n)])
    third = sorted((tmp_path / "s").iterdir())[2]
    third.unlink()
    with pytest.raises(StoreError, match="should begin at the offset"):
        drain(FileLog(tmp_path))


def test_an_offset_of_another_log_is_refused(tmp_path: Path) -> None:
    log = lay(tmp_path, b'{"time":1,"value":1}\n')
    for offset in (5, 22, 1000):
        with pytest.raises(StoreError, match="replaced"):
            log.read("s", 0, offset, 10)


def test_a_log_that_is_replaced_under_a_reader_is_noticed(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1)
    log.append("s", [record(b"1"), record(b"2")])
    end = log.read("s", 0, 0, 10)[1]
    for path in (tmp_path / "s").iterdir():
        path.unlink()
    assert log.read("s", 0, end, 10) == ([], end)
    log.append("s", [record(b"3")])
    with pytest.raises(StoreError, match="replaced"):
        log.read("s", 0, end, 10)
    assert [r.value for r in drain(log)] == [b"3"]


def test_reading_creates_nothing(tmp_path: Path) -> None:
    lay(tmp_path, b'{"time":1,"value":1}\n')
    before = [(path, path.stat().st_mtime_ns) for path in (tmp_path, *tmp_path.rglob("*"))]
    log = FileLog(tmp_path)
    assert drain(log)
    assert log.read("absent", 0, 0, 10) == ([], 0)
    assert log.bounds("s", 5) == (0, 0)
    assert log.partitions("absent") == []
    assert [(path, path.stat().st_mtime_ns) for path in (tmp_path, *tmp_path.rglob("*"))] == before


def test_other_files_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    log = lay(tmp_path, b'{"time":1,"value":1}\n')
    for name in ("README.md", "0000.jsonl.bak", "0000-12.jsonl", "x.jsonl", ".0000.jsonl"):
        (tmp_path / "s" / name).write_text("nothing of the log")
    assert log.partitions("s") == [0]
    assert [r.value for r in drain(log)] == [b"1"]


def test_a_poll_at_the_end_lists_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FileLog(tmp_path, partitions=1, segment_bytes=100)
    log.append("s", [record(b"1")])
    offset = log.read("s", 0, 0, 10)[1]
    monkeypatch.setattr(os, "listdir", None)
    assert log.read("s", 0, offset, 10) == ([], offset)
    monkeypatch.undo()
    for n in range(20):
        log.append("s", [record(b"%d" % n)])
    monkeypatch.setattr(os, "listdir", None)
    assert [r.value for r in log.read("s", 0, offset, 100)[0]] == [b"%d" % n for n in range(20)]


def test_a_full_disk_is_an_error_that_says_so_and_the_log_recovers(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "0000.jsonl").symlink_to("/dev/full")
    log = FileLog(tmp_path)
    with pytest.raises(StoreError, match=r"No space left on device \(free some space"):
        log.append("s", [record(b"1")])
    (tmp_path / "s" / "0000.jsonl").unlink()
    (tmp_path / "s" / "0000.jsonl").touch()
    log.close()
    log.append("s", [record(b"2")])
    assert [r.value for r in drain(log)] == [b"2"]


def test_a_write_that_was_cut_short_is_reported_and_closed_later(tmp_path: Path) -> None:
    # The limit of a file's size lets the kernel write a part of the batch, then none.
    program = """
import resource, sys
from pathlib import Path
from events.errors import StoreError
from events.log import LogRecord
from stores.log.files import FileLog
log = FileLog(Path(sys.argv[1]), partitions=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    log.append("s", [LogRecord("", 0, 0, n, b"k", b"%d" % n) for n in range(100)])
except StoreError as error:
    print(error.detail)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append("s", [LogRecord("", 0, 0, 0, b"k", b"later")])
"""
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "File too large" in result.stdout

    found = drain(FileLog(tmp_path))

    good = [r.value for r in found if not r.headers]
    assert good[:-1] == [b"%d" % n for n in range(len(good) - 1)]
    assert good[-1] == b"later"
    assert found[-2].offset + len(found[-2].value or b"") == 1000


def test_a_file_where_the_folder_should_be_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    log = FileLog(tmp_path)
    for attempt in (
        lambda: log.append("s", [record(b"1")]),
        lambda: log.create("s", 1),
        lambda: log.partitions("s"),
        lambda: log.read("s", 0, 0, 1),
        lambda: log.bounds("s", 0),
    ):
        with pytest.raises(StoreError, match=r"cannot .*/s: .* \(remove the file"):
            attempt()


def test_fsync_changes_nothing_about_the_content(tmp_path: Path) -> None:
    log = FileLog(tmp_path, partitions=1, segment_bytes=100, fsync=True)
    for n in range(10):
        log.append("s", [record(b"%d" % n)])
    assert [r.value for r in drain(log)] == [b"%d" % n for n in range(10)]


def test_many_writers_and_a_reader_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    count, names = 3000, ["a", "b", "c"]
    writers = [start_writer(tmp_path, name, 0, count, segment_bytes=20_000) for name in names]
    log = FileLog(tmp_path)
    log.create("s", 2)
    release(*writers)
    offsets = {0: 0, 1: 0}
    found: dict[int, list[LogRecord]] = {0: [], 1: []}
    deadline = time.monotonic() + DEADLINE_SECONDS
    while sum(map(len, found.values())) < count * len(names):
        assert time.monotonic() < deadline, "the reader did not see everything in time"
        for partition, offset in offsets.items():
            records, offsets[partition] = log.read("s", partition, offset, 50)
            found[partition] += records
    for writer in writers:
        writer.communicate(timeout=DEADLINE_SECONDS)
        assert writer.returncode == 0

    assert [log.read("s", p, offsets[p], 10)[0] for p in offsets] == [[], []]
    assert len(list((tmp_path / "s").iterdir())) > 10
    order: dict[bytes, list[int]] = {}
    for records in found.values():
        for each in records:
            assert each.headers == {}
            order.setdefault(each.key or b"", []).append(int((each.value or b"").split()[1]))
    for name in names:
        for rest in range(5):
            assert order[f"{name}-{rest}".encode()] == list(range(rest, count, 5))
    assert [drain(log, p) for p in offsets] == list(found.values())


def test_writers_killed_at_any_moment_leave_only_what_they_had_appended(tmp_path: Path) -> None:
    chance = random.Random(20)
    log = FileLog(tmp_path, segment_bytes=5_000)
    log.create("s", 2)
    acknowledged = 0
    for attempt in range(8):
        writer = start_writer(tmp_path, "w", attempt * 100_000, 100_000, segment_bytes=5_000)
        release(writer)
        with writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(chance.randrange(1, 200))]
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.readlines()
        told = [int(line) for line in said if line.endswith("\n")]
        # What was acknowledged is there; of the batch under way some may be.
        log.append("s", [record(b"between", None)])
        found = [r for p in (0, 1) for r in drain(log, p)]
        numbers = Counter(int(r.value.split()[1]) for r in found if r.value and r.value.startswith(b"w "))
        mine = sorted(n for n in numbers if n >= attempt * 100_000)
        assert mine[: max(told) - attempt * 100_000] == list(range(attempt * 100_000, max(told)))
        assert len(mine) <= max(told) - attempt * 100_000 + 20
        assert set(numbers.values()) == {1}
        acknowledged += max(told) - attempt * 100_000
    assert acknowledged > 100


@pytest.mark.parametrize("seed", range(6))
def test_a_batch_cut_at_any_byte_loses_nothing_around_it(tmp_path: Path, seed: int) -> None:
    # A killed process seldom dies inside one write; the power can fail at any byte of it.
    chance = random.Random(seed)
    log = FileLog(tmp_path, partitions=1, segment_bytes=300)
    given: list[bytes] = []
    for n in range(40):
        log.append("s", [record(b"%d" % n)])
        given.append(b"%d" % n)
        if chance.random() < 0.5:
            newest = max((tmp_path / "s").iterdir())
            line = b'{"time":0,"key":"k","value":{"torn":%d}}\n' % n
            cut = chance.randrange(1, len(line) - 1)
            with newest.open("ab") as file:
                file.write(line[:cut])
            given.append(line[:cut])
    log.append("s", [record(b"end")])
    found = drain(log)
    assert [r.value for r in found] == [*given, b"end"]
    assert [bool(r.headers) for r in found] == [value.startswith(b"{") for value in [*given, b"end"]]


def test_a_forked_process_and_its_parent_can_both_append(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from events.log import LogRecord
from stores.log.files import FileLog
log = FileLog(Path(sys.argv[1]), partitions=1, segment_bytes=2000)
log.append("s", [LogRecord("", 0, 0, 0, b"k", b"0 before")])
child = os.fork()
name = b"parent" if child else b"child"
for n in range(1000):
    log.append("s", [LogRecord("", 0, 0, 0, b"k", b"%d %s" % (n, name))])
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True, timeout=60)
    found = [(r.value or b"").split() for r in drain(FileLog(tmp_path))]
    for name in (b"parent", b"child"):
        assert [int(n) for n, who in found if who == name] == list(range(1000))
    assert len(found) == 2001


def test_retention_beside_a_writer_and_a_reader_removes_only_what_is_old(tmp_path: Path) -> None:
    count = 3000
    writer = start_writer(tmp_path, "w", 0, count, segment_bytes=3_000)
    log, keeper = FileLog(tmp_path), FileLog(tmp_path)
    log.create("s", 1)
    release(writer)
    offset = 0
    seen: list[int] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(seen) < count:
        assert time.monotonic() < deadline, "the reader did not see everything in time"
        records, offset = log.read("s", 0, offset, 40)
        seen += [r.event_time for r in records]
        # Event times are the writer's numbers: what the reader has passed may go.
        if seen and len(records) == 40:
            keeper.retain("s", seen[-1])
    writer.communicate(timeout=DEADLINE_SECONDS)
    assert seen == list(range(count))
    keeper.retain("s", count)
    assert len(list((tmp_path / "s").iterdir())) == 1
    assert log.bounds("s", 0)[1] == offset
