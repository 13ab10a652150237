"""How right deterministic linking is: the real extractor and graph on records whose truth is known, Splink beside them.

Ours links what carries the same normalised identifier, exactly, one event after the other; Splink weighs how alike rows
are, after it has looked at all of them. So it finds typing errors that ours cannot, and ours needs no look at the rest.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.identity_data import ROOT, Records, dedupe_csv, described, fake_1000, fixtures
from benchmarks.identity_pairs import Score, Scored, best_threshold, joined, score, score_labels, score_pairs
from benchmarks.peers import environment
from events.changes import Change
from events.errors import HeadraceError
from operators.identity.extract import Extractor
from operators.identity.graph import IdentityGraph

FIXED = 0.95
SPLINK = environment.FOLDER.with_name(".venv-peers-splink")
SPLINK_REQUIREMENTS = ("splink==5.0.0", "pandas==2.3.3")
_SECONDS = 600.0


class Judged(msgspec.Struct):
    """What one way of linking found on one data set.

    :arg persons: How many there are; None where pairs were judged, not persons.
    :arg seconds: For the whole data set.
    """

    data: str
    way: str
    score: Score
    persons: int | None
    seconds: float | None


def link(records: Records) -> dict[str, str]:
    """Return the person of each record, by the real extractor and graph. A record without a person is its own."""
    extractor = Extractor(records.rules, records.tables)
    graph = IdentityGraph("default", records.rules)
    for number, (record, (table, row)) in enumerate(records.rows.items()):
        change = Change("benchmark", table, record, "read", None, row, number, stream="benchmark", offset=number)
        links = extractor.links(change, table)
        carried = tuple(sorted({one for rule in links.identifiers for one in rule or ()}))
        graph.change(record, carried, number if links.created is None else links.created)
    return {record: graph.place(record)[0] for record in records.rows}


def splink(records: Records) -> list[Scored]:
    """Return the pairs that Splink finds on the same columns.

    :raises HeadraceError: When its environment cannot be made, or it fails.
    """
    python = environment.python(SPLINK, SPLINK_REQUIREMENTS)
    rows = [{"unique_id": record, **columns} for record, columns in records.flat.items()]
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder, "asked.json"), Path(folder, "answer.json")
        asked.write_bytes(msgspec.json.encode({"rows": rows, **msgspec.to_builtins(records.asked)}))
        program = ROOT / "benchmarks" / "peers" / "splink_link.py"
        command = [str(python), str(program), str(asked), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            detail = f"Splink failed on {records.name}: {lines[-1] if lines else f'exit {done.returncode}'}"
            raise HeadraceError(detail, "measure with --only headrace")
        return msgspec.json.decode(answer.read_bytes(), type=list[Scored])


def measure_quality(console: Console, *, peer: bool) -> list[Judged]:
    """Link each data set that is there in all ways."""
    found: list[Judged] = []
    for name, read in (("fixtures", fixtures), ("fake_1000", fake_1000), ("dedupe csv_example", dedupe_csv)):
        records = read()
        if records is None:
            console.print(f"skipped: the data set {name} is not in ../shared/data", style="dim")
            continue
        console.print(f"quality: {records.name} …", style="dim")
        found += _ours(records)
        if peer:
            found += _theirs(records)
        console.print(f"{records.name}, {len(records.rows):,} records; identifiers, the strongest first:")
        for line in described(records):
            console.print(f"  {line}", highlight=False)
    return found


def _ours(records: Records) -> list[Judged]:
    began = time.perf_counter()
    persons = link(records)
    seconds = time.perf_counter() - began
    count = len(set(persons.values()))
    found = [Judged(records.name, "headrace", score(persons, records.truth), count, seconds)]
    if records.labels:
        judged = score_labels(persons, records.labels)
        found.append(Judged(f"{records.name}_labels", "headrace", judged, None, None))
    return found


def _theirs(records: Records) -> list[Judged]:
    environment.python(SPLINK, SPLINK_REQUIREMENTS)
    began = time.perf_counter()
    pairs = splink(records)
    seconds = time.perf_counter() - began
    best = best_threshold(pairs, records.truth)
    found = [
        Judged(
            records.name,
            f"splink, pairs, best threshold {best:.2f}",
            score_pairs(pairs, records.truth, best),
            None,
            seconds,
        ),
        Judged(records.name, f"splink, pairs, threshold {FIXED}", score_pairs(pairs, records.truth, FIXED), None, None),
    ]
    persons = joined(records.truth, pairs, FIXED)
    way = f"splink, persons, threshold {FIXED}"
    found.append(Judged(records.name, way, score(persons, records.truth), len(set(persons.values())), None))
    if records.labels:
        probable = {(left, right): p for left, right, p in pairs} | {(right, left): p for left, right, p in pairs}
        scored = [(left, right, probable.get((left, right), 0.0)) for left, right, _ in records.labels]
        found.append(_labelled(records, scored, FIXED, f"splink, pairs, threshold {FIXED}"))
    return found


def _labelled(records: Records, scored: list[Scored], threshold: float, way: str) -> Judged:
    judged = [(p >= threshold, match) for (_, _, p), (_, _, match) in zip(scored, records.labels, strict=True)]
    right, found = sum(hit and match for hit, match in judged), sum(hit for hit, _ in judged)
    return Judged(f"{records.name}_labels", way, Score(right, found, sum(match for _, match in judged)), None, None)


def report_quality(console: Console, found: list[Judged]) -> None:
    """Print the figures of each way on each data set."""
    table = Table(title="Pairs of records that are of one person", box=SIMPLE_HEAD)
    for column in ("", "", "precision", "recall", "F1", "right", "found", "true", "persons", "seconds"):
        table.add_column(column, justify="right" if column else "left")
    before = ""
    order = list(dict.fromkeys(one.data for one in found))
    for one in sorted(found, key=lambda one: order.index(one.data)):
        table.add_row(
            one.data if one.data != before else "",
            one.way,
            *(f"{value:.4f}" for value in (one.score.precision, one.score.recall, one.score.f1)),
            *(f"{value:,}" for value in (one.score.right, one.score.found, one.score.true)),
            "" if one.persons is None else f"{one.persons:,}",
            "" if one.seconds is None else f"{one.seconds:.2f}",
        )
        before = one.data
    console.print(table)
    console.print(
        "headrace links exactly equal normalised identifiers: it loses pairs that only a likeness holds together, such "
        "as mistyped names and dates. The best threshold of the peer was found with the truth at hand.\n"
    )
