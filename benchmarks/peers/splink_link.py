"""Splink on rows that the identity benchmark hands over: `python splink_link.py IN OUT`, run by the peers' own Python.

IN is JSON: `rows`, each with `unique_id`; `comparisons`, column to one of the kinds below; `blocking`, sets of columns
of which two rows must share one to be compared; `certain`, those among them that nearly always mean a match. OUT gets
`[left, right, probability]` for each pair above `LEAST`. Trained as Splink's own tutorial does it: the prior from the
certain rules, u by random sampling, m by expectation maximisation, once for each of two blockings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

LEAST = 0.001
RECALL = 0.7
"""Of the certain rules, as the tutorial guesses it."""

KINDS = {
    "name": lambda column: cl.JaroWinklerAtThresholds(column, [0.9, 0.7]).configure(term_frequency_adjustments=True),
    "text": lambda column: cl.LevenshteinAtThresholds(column, [2, 5]).configure(term_frequency_adjustments=True),
    "code": lambda column: cl.LevenshteinAtThresholds(column, 2),
    "exact": lambda column: cl.ExactMatch(column).configure(term_frequency_adjustments=True),
    "email": cl.EmailComparison,
    "date": lambda column: cl.DateOfBirthComparison(column, input_is_string=True),
}


def predict(asked: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Return the pairs that Splink finds, with their probabilities."""
    rows = pd.DataFrame(asked["rows"]).replace("", None)
    blocking = [block_on(*columns) for columns in asked["blocking"]]
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[KINDS[kind](column) for column, kind in asked["comparisons"].items()],
        blocking_rules_to_generate_predictions=blocking,
    )
    linker = Linker(DuckDBAPI().register(rows), settings, log_level=40)
    certain = [block_on(*columns) for columns in asked["certain"]]
    linker.training.estimate_probability_two_random_records_match(certain, recall=RECALL)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=7)
    for columns in asked["training"]:
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(*columns))
    found = linker.inference.predict(threshold_match_probability=LEAST).as_pandas_dataframe()
    columns = found["unique_id_l"], found["unique_id_r"], found["match_probability"]
    return [(str(left), str(right), float(p)) for left, right, p in zip(*columns, strict=True)]


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(predict(asked)), encoding="utf-8")


if __name__ == "__main__":
    main()
