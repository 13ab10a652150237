"""The read side, measured: what a context costs, what a look-up costs, and whether many readers see only what is true.

    python -m benchmarks.context [--parts load context profile readers feast] [--scale small|full] [--data DIR]

load     Makes the stores of a travel company (`context_company.py`): at full scale a million live rows, 100,000
         profiles and 100,000 pieces of documents.
context  `POST /context` over HTTP, from another process than the server's: one asker, and eight at once; the embedding
         of a question apart.
profile  `GET /profiles/me`, and rows of live tables by key.
feast    The look-up of a person beside Feast's online read, in process and over HTTP.
readers  Many readers at once while everything is taken in at full speed (`context_readers.py`), in stores of their own.

With --data the stores are kept, and found there by the next run.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks.context_company import Company
from benchmarks.context_data import SCALES
from benchmarks.context_feast import Feast, ours_in_process
from benchmarks.context_latency import contexts, embedding, look_ups
from benchmarks.context_readers import Readings, measure_readers
from benchmarks.context_report import report_embedding, report_latencies, report_ratios, report_readers
from benchmarks.context_server import Server
from events.errors import HeadraceError

PARTS = ("load", "context", "profile", "feast", "readers")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the scale decides what is not given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--data", type=Path, help="folder of the stores; default: a temporary one, removed in the end")
    parser.add_argument("--backend", default="auto", choices=("auto", "openvino", "sentence-transformers", "hashing"))
    parser.add_argument("--requests", type=int, help="how many of each kind")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--seconds", type=float, help="how long they read")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="file for all numbers, as JSON")
    options = parser.parse_args(arguments)
    usual = {"full": {"requests": 1_000, "seconds": 60.0}, "small": {"requests": 100, "seconds": 10.0}}
    for name, value in usual[options.scale].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def run(options: argparse.Namespace, home: Path, console: Console) -> dict[str, object]:
    """Measure and report part by part; return all numbers."""
    numbers: dict[str, object] = {}
    company = Company(home / f"company-{options.scale}", SCALES[options.scale], options.backend, options.seed)
    if {"load", "context", "profile", "feast"} & set(options.parts):
        numbers["load"] = _load(company, console)
    found = []
    if "context" in options.parts:
        with Server(company.variables, company.data) as server:
            found += contexts(server, company, options.requests, options.seed)
        numbers["embedding"] = embedded = embedding(company, options.backend, min(options.requests, 300), options.seed)
        report_embedding(console, embedded)
    if {"profile", "feast"} & set(options.parts):
        with Server(company.variables, company.data) as server:
            found += look_ups(server, company, options.requests, options.seed)
    if "feast" in options.parts:
        feast = Feast(home / f"feast-{options.scale}", company.sizes.persons, options.seed)
        console.print(f"Feast {feast.make()}", highlight=False)
        found += [feast.in_process(options.requests), *feast.over_http(options.requests)]
        found.append(ours_in_process(company, options.requests, options.seed))
    if found:
        report_latencies(console, found)
        report_ratios(console, found)
        numbers["latencies"] = found
    if "readers" in options.parts:
        numbers["readers"] = _readers(options, home, console)
    console.print(f"Python {platform.python_version()}, {platform.platform()}", highlight=False)
    return numbers


def _load(company: Company, console: Console) -> dict[str, float]:
    sizes = company.sizes
    said = f"{sizes.rows:,} rows, {sizes.persons:,} persons, {sizes.chunks:,} pieces of documents"
    if company.is_made():
        console.print(f"found: {said}", highlight=False)
        return {}
    console.print(f"making {said} …", style="dim", highlight=False)
    seconds = company.make()
    console.print(", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()), highlight=False)
    return seconds


def _readers(options: argparse.Namespace, home: Path, console: Console) -> Readings:
    place = home / "readers"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    console.print(f"{options.readers} readers for {options.seconds:g} s …", style="dim", highlight=False)
    readings = measure_readers(place, options.readers, options.seconds, options.seed)
    report_readers(console, readings, options.seconds)
    wrong = [*readings.errors, *readings.torn, *readings.implausible]
    if wrong:
        detail = f"{len(wrong)} answers were wrong, one of them: {wrong[0]}"
        raise HeadraceError(detail, f"look at {place}; with --data it is kept")
    return readings


def main() -> None:
    options = parse()
    # Whoever ends this process, by `timeout` for one, ends the measured ones with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=max(Console().width, 130))
    home = (options.data or Path(tempfile.mkdtemp(prefix="context-"))).absolute()
    try:
        numbers = run(options, home, console)
    except HeadraceError as error:
        console.print(str(error), style="red", markup=False)
        raise SystemExit(1) from None
    finally:
        if options.data is None:
            shutil.rmtree(home, ignore_errors=True)
    if options.out:
        options.out.write_bytes(msgspec.json.encode(numbers))


if __name__ == "__main__":
    main()
