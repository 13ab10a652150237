"""Commands about what tells satisfied from dissatisfied comments: how often it is right, and what it says of a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from events.errors import RejectedError, SettingsError
from events.feedback import Verdict
from stores.settings import Settings, load

if TYPE_CHECKING:
    from rich.console import Console

    from stores.sentiment.trial import Report, Tally

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]

group = typer.Typer(
    help="What tells satisfied from dissatisfied comments: how often it is right, what it says of a text.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="sentiment")


@group.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="Labelled lines beside those of the settings; may be repeated."),
    ] = None,
    wrong: Annotated[int, typer.Option(min=0, help="How many of the lines to show that it got wrong.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Say how often the classifier is right on lines that it has not learnt from.

    All labelled lines, those that come with Headrace and your own, are cut into five parts; each is judged by what was
    learnt from the other four.
    """
    from stores.embedders.choose import open_embedder
    from stores.sentiment.choose import examples_of
    from stores.sentiment.examples import topics_of
    from stores.sentiment.trial import held_out

    settings = _with_files(load(), files or ())
    sentiment = settings.feedback.sentiment
    examples = examples_of(settings)
    report = held_out(
        open_embedder(settings),
        examples,
        categories=sentiment.categories,
        topics=topics_of(examples, sentiment.topics),
        least_confidence=sentiment.least_confidence,
    )
    if as_json:
        typer.echo(json.dumps(_as_json(report), ensure_ascii=False))
        return
    _print(report, wrong)


@group.command("try")
def try_(text: Annotated[str, typer.Argument(help="What somebody wrote.")], as_json: AsJson = False) -> None:
    """Say what the classifier or the endpoint of the settings makes of a text.

    Example: headrace sentiment try "my suitcase is still missing"
    """
    if not text.strip():
        detail = "there is nothing to judge"
        raise RejectedError(detail, "give it a text")
    verdict = _verdict(load(), text)
    if as_json:
        typer.echo(msgspec.json.encode(verdict).decode())
        return
    topics = ", ".join(verdict.topics) or "none"
    typer.echo(f"{verdict.category}  {verdict.confidence:.0%} sure  topics: {topics}  by {verdict.model}")


def _verdict(settings: Settings, text: str) -> Verdict:
    from stores.sentiment.choose import open_classifier, open_judge

    backend = settings.feedback.sentiment.backend
    if backend == "none":
        detail = "feedback.sentiment.backend is 'none': nobody reads comments"
        raise SettingsError(detail, "set it to 'classifier' or 'endpoint'")
    if backend == "classifier":
        return open_classifier(settings).classify([text])[0]
    judge = open_judge(settings, patient=False)  # somebody is looking at the screen
    try:
        return judge.submit(text).result()
    finally:
        judge.close()


def _with_files(settings: Settings, files: Sequence[Path]) -> Settings:
    for path in files:
        if not path.is_file():
            detail = f"there is no file {path}"
            raise RejectedError(detail, "name a file with labelled lines by --file")
    sentiment = settings.feedback.sentiment
    sentiment = sentiment.model_copy(update={"examples": (*sentiment.examples, *files)})
    return settings.model_copy(update={"feedback": settings.feedback.model_copy(update={"sentiment": sentiment})})


def _print(report: Report, wrong: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    right, lines = sum(one.right for one in report.judged), len(report.judged)
    files = {path.name: f"{sum(hits)} of {len(hits)}" for path, hits in _by_file(report).items()}
    shares = f" ({', '.join(f'{name}: {share}' for name, share in files.items())})" if len(files) > 1 else ""
    said = f"{report.accuracy:.1%} right: the category of {right} of {lines} lines that it had not learnt from"
    console.print(said + escape(shares), highlight=False)
    table = Table("category", "lines", *(f"said {name}" for name in report.categories), "precision", "recall")
    for name in report.categories:
        tally = report.category(name)
        confused = (str(report.confusion(name, other)) for other in report.categories)
        table.add_row(name, str(tally.true), *confused, *_shares(tally))
    _plain(console, table)
    if report.topics:
        table = Table("topic", "lines", "precision", "recall")
        for name in report.topics:
            tally = report.topic(name)
            table.add_row(name, str(tally.true), *_shares(tally))
        _plain(console, table)
    mistakes = sorted((one for one in report.judged if not one.right), key=lambda one: -one.verdict.confidence)
    if wrong and mistakes:
        table = Table("line", "is", "said", "sure", "text")
        for one in mistakes[:wrong]:
            sure = f"{one.verdict.confidence:.0%}"
            table.add_row(one.example.place, one.example.category, one.verdict.category, sure, escape(one.example.text))
        console.print(f"{min(wrong, len(mistakes))} of {len(mistakes)} that it got wrong, the surest first:")
        _plain(console, table)


def _plain(console: Console, table: Any) -> None:
    table.box, table.header_style = None, "bold"
    console.print(table)
    console.print()


def _shares(tally: Tally) -> tuple[str, str]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.0%}"

    return share(tally.precision), share(tally.recall)


def _by_file(report: Report) -> dict[Path, list[bool]]:
    files: dict[Path, list[bool]] = {}
    for one in report.judged:
        files.setdefault(one.example.path, []).append(one.right)
    return files


def _as_json(report: Report) -> dict[str, Any]:
    def shares(tally: Tally) -> dict[str, Any]:
        return {"lines": tally.true, "said": tally.said, "precision": tally.precision, "recall": tally.recall}

    return {
        "lines": len(report.judged),
        "accuracy": report.accuracy,
        "macro_f1": report.macro_f1,
        "files": {str(path): sum(hits) / len(hits) for path, hits in _by_file(report).items()},
        "categories": {
            name: {
                **shares(report.category(name)),
                "said_to_be": {other: report.confusion(name, other) for other in report.categories},
            }
            for name in report.categories
        },
        "topics": {name: shares(report.topic(name)) for name in report.topics},
        "wrong": [
            {"line": one.example.place, "is": one.example.category, "said": one.verdict.category}
            | {"text": one.example.text}
            for one in report.judged
            if not one.right
        ],
    }
