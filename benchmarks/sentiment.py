"""How right the classifier is on texts that others have rated: as it comes, having learnt from none of them.

    python -m benchmarks.sentiment

The texts are those of Hutto and Gilbert ("VADER", ICWSM 2014), twenty raters each, as the source package of
vaderSentiment 3.3.2 carries them: pip fetches it once into `.cache/`. VADER itself runs beside ours on the same texts,
and so does the answer that is the most frequent one. Last the turns of users in MultiWOZ as USS rated them, from
../shared/data, if they are there: hard, as most say nothing about satisfaction.

A text is satisfied if its mean rating (-4 to 4) is at least 0.5, dissatisfied if at most -0.5, else neutral; a turn, if
its mean rating (1 to 5) is at least 3.5, or at most 2.5. VADER's own bounds are its authors': 0.05 of `compound`.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from events.errors import HeadraceError
from stores.embedders.base import Embedder
from stores.embedders.cache import CachedEmbedder, EmbeddingCache
from stores.embedders.choose import choose_embedder
from stores.sentiment.choose import open_classifier
from stores.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
PACKAGE = "vaderSentiment==3.3.2"
SETS = {
    "Amazon reviews": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "film reviews": "movieReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}
TURNS = ROOT.parent / "shared" / "data" / "uss_satisfaction" / "MWOZ.txt"
CATEGORIES = ("satisfied", "dissatisfied", "neutral")
_SECONDS = 300


class Rated(NamedTuple):
    """A text, and what people made of it."""

    text: str
    category: str


def source_package() -> Path:
    """Return the source package, after fetching it if it is not there.

    :raises HeadraceError: When pip cannot fetch it.
    """
    if not (found := sorted(CACHE.glob("vader*entiment-3.3.2.tar.gz"))):
        CACHE.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", PACKAGE]
        done = subprocess.run(
            [*command, "--dest", str(CACHE)], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        found = sorted(CACHE.glob("vader*entiment-3.3.2.tar.gz"))
        if done.returncode or not found:
            detail = f"pip cannot fetch {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}"
            raise HeadraceError(detail, "try again with a network")
    return found[0]


def rated_sets(package: Path) -> dict[str, list[Rated]]:
    """Read the rated texts: identifier, mean rating and text, separated by tabs."""
    with tarfile.open(package) as outer:
        inner = outer.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
        assert inner
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as files:
            return {name: _rated(files, f"hutto_ICWSM_2014/{path}") for name, path in SETS.items()}


def _rated(files: tarfile.TarFile, path: str) -> list[Rated]:
    member = files.extractfile(path)
    assert member
    rows = [line.split("\t", 2) for line in member.read().decode("utf-8", "replace").splitlines()]
    return [Rated(text.strip(), _category(float(mean), -0.5, 0.5)) for _, mean, text in rows if text.strip()]


def rated_turns() -> list[Rated]:
    """Read the turns of users; none if the data is not there."""
    if not TURNS.is_file():
        return []
    rows = [line.split("\t") for line in TURNS.read_text(encoding="utf-8").splitlines() if line.startswith("USER\t")]
    return [
        Rated(row[1], _category(statistics.fmean(map(int, row[3].split(","))), 2.5, 3.5))
        for row in rows
        if row[1] != "OVERALL"
    ]


def _category(mean: float, low: float, high: float) -> str:
    return "satisfied" if mean >= high else "dissatisfied" if mean <= low else "neutral"


def vader(package: Path, folder: Path) -> Callable[[Sequence[str]], list[str]]:
    """Return VADER, loaded out of its source package into a module of its own."""
    with tarfile.open(package) as outer:
        inner = "vaderSentiment-3.3.2/vaderSentiment/"
        for name in ("vaderSentiment.py", "vader_lexicon.txt", "emoji_utf8_lexicon.txt"):
            member = outer.extractfile(inner + name)
            assert member
            (folder / name).write_bytes(member.read())
    spec = importlib.util.spec_from_file_location("vader_peer", folder / "vaderSentiment.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    analyzer = module.SentimentIntensityAnalyzer()

    def classify(texts: Sequence[str]) -> list[str]:
        return [_category(analyzer.polarity_scores(text)["compound"], -0.05, 0.05) for text in texts]

    return classify


def accuracy(rated: Sequence[Rated], said: Sequence[str]) -> float:
    """Return the share that is right."""
    return sum(one.category == answer for one, answer in zip(rated, said, strict=True)) / len(rated)


def macro_f1(rated: Sequence[Rated], said: Sequence[str]) -> float:
    """Return the mean of the categories' F1."""
    true, answers = Counter(one.category for one in rated), Counter(said)
    right = Counter(answer for one, answer in zip(rated, said, strict=True) if one.category == answer)
    return statistics.fmean(2 * right[name] / ((true[name] + answers[name]) or 1) for name in CATEGORIES)


def thinned(rated: list[Rated], most: int) -> list[Rated]:
    """Return at most so many, evenly from all over the set."""
    step = max(1, -(-len(rated) // most))
    return rated[::step]


def quality(console: Console, embedder: Embedder, package: Path, most: int) -> None:
    """Print accuracy and macro F1 of each way on each set."""
    ours = open_classifier(Settings(), embedder)
    with tempfile.TemporaryDirectory() as folder:
        peer = vader(package, Path(folder))
    table = Table(
        "texts", "", *(f"% {name}" for name in CATEGORIES), "way", "accuracy", "macro F1", "texts/s", box=SIMPLE_HEAD
    )
    for name, all_rated in {**rated_sets(package), "turns of MultiWOZ": rated_turns()}.items():
        if not all_rated:
            console.print(f"{name}: not in {TURNS}")
            continue
        rated = thinned(all_rated, most)
        texts = [one.text for one in rated]
        count = Counter(one.category for one in rated)
        usual = count.most_common(1)[0][0]
        ours.classify(texts[:1])
        ways: dict[str, Callable[[Sequence[str]], list[str]]] = {
            "Headrace": lambda asked: [verdict.category for verdict in ours.classify(asked)],
            "VADER": peer,
            f"always {usual}": lambda asked, usual=usual: [usual] * len(asked),  # type: ignore[misc]  # mypy#12557
        }
        shares = [f"{count[category] / len(rated):.0%}" for category in CATEGORIES]
        for number, (way, classify) in enumerate(ways.items()):
            begun = time.perf_counter()
            said = classify(texts)
            speed = len(texts) / (time.perf_counter() - begun)
            first = [name, str(len(texts)), *shares] if not number else [""] * 5
            told = f"{accuracy(rated, said):.1%}", f"{macro_f1(rated, said):.3f}"
            table.add_row(*first, way, *told, f"{speed:,.0f}" if way in ("Headrace", "VADER") else "")
    console.print(table)


def speed(console: Console, embedder: Embedder, texts: list[str]) -> None:
    """Print texts a second with an empty and with a full cache of embeddings."""
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedEmbedder(embedder, EmbeddingCache(Path(folder, "embeddings.sqlite3")))
        begun = time.perf_counter()
        classifier = open_classifier(Settings(), cached)
        classifier.classify(["warm"])
        console.print(f"learnt from the lines that come with Headrace in {time.perf_counter() - begun:.2f} s")
        for state in ("not in the cache", "in the cache"):
            begun = time.perf_counter()
            for start in range(0, len(texts), 500):
                classifier.classify(texts[start : start + 500])
            console.print(f"{len(texts) / (time.perf_counter() - begun):,.0f} texts/s, {state}, 500 at a time")
        cached.close()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--most", type=int, default=4000, help="texts of each set, evenly from all over it")
    arguments = parser.parse_args()
    console = Console(width=140)
    package = source_package()
    embedder = choose_embedder()
    quality(console, embedder, package, arguments.most)
    speed(console, embedder, [one.text for one in rated_sets(package)["Amazon reviews"]][: arguments.most])


if __name__ == "__main__":
    main()
