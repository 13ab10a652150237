"""The feedback flow does not start on what would stop it later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataflows.feedback import build
from events.errors import SettingsError
from stores.settings import load


@pytest.mark.parametrize(
    ("sentiment", "said"),
    [
        ({"examples": ["nofile.jsonl"]}, r"nofile\.jsonl cannot be read"),
        ({"examples": ["wrong.jsonl"]}, r"wrong\.jsonl, line 1"),
        ({"topics": ["nobodys"]}, "nobodys"),
    ],
)
def test_wrong_examples_stop_the_start_not_the_first_comment(
    sentiment: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.jsonl").write_text('{"text": "fine", "category": "splendid"}\n')
    feedback = {"streams": [{"name": "chat"}], "sentiment": sentiment}
    with pytest.raises(SettingsError, match=said):
        build(load(data_dir=tmp_path, feedback=feedback))
