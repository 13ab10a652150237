from __future__ import annotations

import re
from pathlib import Path

from events.feedback import kind_of
from events.log import LogRecord
from operators.feedback.decode import Decoder

README = Path(__file__).parents[3] / "operators" / "feedback" / "README.md"
EXAMPLES = re.findall(r"```json\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
NOW = 1_793_520_060_000


def test_the_examples_for_users_are_read_as_what_they_show() -> None:
    decoder = Decoder("auto", "desk", 2**20, 300_000, lambda: NOW)
    found = [decoder.decode(LogRecord("s", 0, 0, NOW, None, example.encode())) for example in EXAMPLES]
    assert [[kind_of(event) for event in events] for events in found] == [
        ["turn"],
        ["rating"],
        ["comment"],
        ["context"],
        ["point"],
        ["turn", "turn", "rating"],
        ["turn", "turn"],
        ["rating", "comment"],
    ]
