"""Many readers over HTTP while everything is taken in: no error, nothing torn, every time a true one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.context_readers import measure_readers

READERS, SECONDS = 50, 12.0


def test_many_readers_see_only_what_belongs_together_while_everything_is_taken_in(tmp_path: Path) -> None:
    readings = measure_readers(tmp_path, READERS, SECONDS)
    assert readings.errors == []
    assert readings.torn == []
    assert readings.implausible == []
    # Nothing torn says nothing where there was nothing to compare, or nothing that changed.
    assert min(readings.compared.values()) > 0, readings.compared
    assert readings.commits > 0
    assert min(readings.answers) > 0, readings.told_to_wait
