"""Who says what is wrong is given up, unless that may pass by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.supervise.log_file import LogFile
from serving.supervise.process import Process
from serving.supervise.team import Member


@pytest.mark.parametrize(("passing", "state"), [(True, "waiting"), (False, "given up")])
def test_a_server_that_is_away_is_waited_for_and_a_wrong_password_is_not(
    tmp_path: Path, passing: bool, state: str
) -> None:
    log = LogFile(tmp_path / "x.log", lambda: 0, 1_000)
    member = Member("capture", Process([], {}, []), log, lambda: 0, lambda: 0)
    for _ in range(20):
        member.end("headrace: that is why (do something)", passing=passing)
    assert member.health().state == state
    assert member.health().said == "that is why (do something)"
