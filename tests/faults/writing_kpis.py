"""A program that writes a store of KPIs for ever, so that it can be killed: each commit is a number, everywhere.

python tests/faults/writing_kpis.py FOLDER PAUSE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from events.clock import system_clock  # noqa: E402  # the path comes first
from events.kpis import Fact, FactChange, Frontier, KpiValue  # noqa: E402
from events.log import Mark  # noqa: E402
from stores.kpis.intake import KpiIntake  # noqa: E402
from stores.settings import load  # noqa: E402

BEGIN = 1_767_225_600_000
FACTS = 200
"""Facts, and values, of one commit: the same ones in each, with another number."""
KPI = {
    "name": "mine",
    "aggregate": "sql",
    "sql": "SELECT max(tokens) AS value FROM facts",
    "by": [[]],
    "windows": ["1m"],
}


def main(folder: Path, pause: float) -> None:
    """Go on from the number that the store has as applied."""
    settings = load(data_dir=folder, feedback={"streams": [{"name": "chat"}], "kpis": [KPI]})
    intake = KpiIntake(settings, system_clock, lambda alert: None)
    number = intake.progress()
    while True:
        number += 1
        facts = [Fact("answers", f"a{place}", BEGIN + place, {"tokens": number}) for place in range(FACTS)]
        intake.write([FactChange(None, fact, BEGIN) for fact in facts])
        values = [KpiValue(f"k{place}", "1m", BEGIN, BEGIN + 60_000, (), float(number), 1) for place in range(FACTS)]
        intake.write([*values, Frontier(BEGIN + number)])
        intake.close_epoch([Mark("chat", "0", number, BEGIN, system_clock(), caught_up=True)])
        time.sleep(pause)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
