"""What processes say is kept within bounds; a disk that is full stops nobody."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serving.supervise.log_file import OLDER, LogFile

NOW = 1_800_000_000_000


def test_each_line_is_kept_with_its_time_over_restarts(tmp_path: Path) -> None:
    for text in ("one", "two"):
        log = LogFile(tmp_path / "logs" / "tables.log", lambda: NOW, most=1_000)
        log.write([text])
        log.close()
    assert (tmp_path / "logs" / "tables.log").read_text() == (
        "2027-01-15T08:00:00.000Z one\n2027-01-15T08:00:00.000Z two\n"
    )


@given(st.lists(st.integers(0, 400), max_size=60))
def test_the_files_never_hold_more_than_their_bound_and_always_the_newest_lines(sizes: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = LogFile(Path(folder) / "x.log", lambda: NOW, most=1_000)
        for number, size in enumerate(sizes):
            log.write([f"{number}:" + "x" * size])
        log.close()
        files = [Path(folder) / f"x.log{suffix}" for suffix in (".2", ".1", "")]
        assert {path.name for path in Path(folder).iterdir()} <= {path.name for path in files}
        assert len(files) == OLDER + 1
        assert all(path.stat().st_size <= 1_000 for path in files if path.exists())
        kept = [line for path in files if path.exists() for line in path.read_text().splitlines()]
        told = [int(line.split(" ")[1].split(":")[0]) for line in kept]
        assert told == list(range(len(sizes)))[len(sizes) - len(told) :]
        assert len(told) == len(sizes) or sum(len(line) + 1 for line in kept) > 1_000


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    log = LogFile(tmp_path / "logs" / "x.log", lambda: NOW, most=1_000)
    log.write(["lost"])
    (tmp_path / "logs").unlink()
    log.write(["kept"])
    log.close()
    assert (tmp_path / "logs" / "x.log").read_text().endswith(" kept\n")
