"""How many texts are embedded for one edit of each kind: `python -m benchmarks.embeds`.

The flow runs as users run it, in a process of its own, with the real model. An embedding is counted as a new entry in
the embedding cache, through which the model is called and in which everything that it returned is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.corpus import Corpus
from benchmarks.flow import RunningFlow
from stores.embedders.cache import EmbeddingCache

AIMS = {
    "append a paragraph": 1,
    "change one word": 1,
    "insert at the top": 1,
    "touch": 0,
    "reorder sections": 0,
    "rename": 0,
    "copy": 0,
    "restart": 0,
    "lose the recovery state": 0,
    "lose the vector store": 0,
}


def embedded(data: Path) -> int:
    """Return how many texts have been embedded so far."""
    with contextlib.closing(EmbeddingCache(data / "embeddings.sqlite3")) as cache:
        return cache.count()


def edits(folder: Path) -> dict[str, Callable[[], object]]:
    """Return the edits of one document of `folder`, by name, in the order in which they are made."""
    first, second, *_ = sorted(folder.rglob("*.md"))

    def rewrite(change: Callable[[str], str]) -> None:
        first.write_text(change(first.read_text(encoding="utf-8")), encoding="utf-8")

    def reorder(text: str) -> str:
        head, *sections = text.split("\n## ")
        return "\n## ".join([head.rstrip("\n") + "\n", *(f"{part.rstrip()}\n" for part in reversed(sections))])

    def one_word(text: str) -> str:
        words = text.split(" ")
        words[len(words) // 2] = "kingfisher"
        return " ".join(words)

    def at_the_top(text: str) -> str:
        title, _, rest = text.partition("\n\n")
        return f"{title}\n\nA new opening paragraph, put before all others.\n\n{rest}"

    return {
        "append a paragraph": lambda: rewrite(lambda text: f"{text.rstrip()}\n\nOne more closing paragraph.\n"),
        "change one word": lambda: rewrite(one_word),
        "insert at the top": lambda: rewrite(at_the_top),
        "touch": first.touch,
        "reorder sections": lambda: rewrite(reorder),
        "rename": lambda: first.rename(first.with_name("renamed.md")),
        "copy": lambda: shutil.copy(second, second.with_name("copied.md")),
    }


@contextlib.contextmanager
def running(folder: Path, data: Path) -> Iterator[RunningFlow]:
    """Run the knowledge flow over `folder` until the block ends, read in whole at its beginning."""
    with RunningFlow(folder, data, os.environ.get("HEADRACE_BENCH_BACKEND", "auto")) as flow:
        flow.wait_until_fresh()
        yield flow


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=40)
    arguments = parser.parse_args()
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="headrace-embeds-") as scratch:
        folder, data = Path(scratch) / "docs", Path(scratch) / "data"
        Corpus(arguments.files, seed=1).write(folder)
        with running(folder, data) as flow:
            for name, edit in edits(folder).items():
                before = embedded(data)
                edit()
                flow.wait_until_fresh()
                counts[name] = embedded(data) - before
        losses: dict[str, tuple[str, ...]] = {
            "restart": (),
            "lose the recovery state": ("recovery",),
            "lose the vector store": ("recovery", "vectors"),
        }
        for name, lost in losses.items():
            before = embedded(data)
            for part in lost:
                shutil.rmtree(data / part)
            with running(folder, data):
                counts[name] = embedded(data) - before

    table = Table("edit of one document", "embedded", "aim", title=f"Texts embedded, {arguments.files} documents")
    for name, count in counts.items():
        table.add_row(name, str(count), str(AIMS[name]))
    Console().print(table)


if __name__ == "__main__":
    main()
