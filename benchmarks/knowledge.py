"""The knowledge flow, measured: `python -m benchmarks.knowledge` runs all of its benchmarks one after the other.

Each runs alone as `python -m benchmarks.NAME`, with options of its own (`--help`). `--quick` makes them small.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

PARTS: dict[str, list[str]] = {
    "embeds": [],
    "first_index": ["--files", "60", "--rounds", "1"],
    "retrieval": [],
    "commits": ["--commits", "500"],
    "freshness": ["--files", "60", "--edits", "10"],
}
"""Benchmark to its options for a quick run."""


def main() -> None:
    """Run them all; go on after one that fails, and say so at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: minutes become seconds")
    quick = parser.parse_args().quick
    failed = []
    for name, options in PARTS.items():
        command = [sys.executable, "-m", f"benchmarks.{name}", *(options if quick else [])]
        print(f"\n{' '.join(command[1:])}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
