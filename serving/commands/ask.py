"""Commands that read the knowledge base."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from events.clock import system_clock, to_iso
from stores.settings import load

Audience = Annotated[
    list[str] | None, typer.Option("--audience", "-a", help="Label of the asker, beside public; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON Lines for other programs.")]
Source = Annotated[str, typer.Option(help="Only this folder or stream.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(search)
    app.command()(documents)
    app.command()(show)


def search(
    question: Annotated[str, typer.Argument(help="What you want to know, in your own words.")],
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many pieces at most.")] = 5,
    audience: Audience = None,
    source: Source = "",
    prefix: Annotated[str, typer.Option(help="Only documents whose name begins so.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find the pieces of the documents that answer a question, each with its source and age.

    Example: headrace search "may I bring a bicycle?" -k 3
    """
    from serving.knowledge import Knowledge

    found = Knowledge.of(load()).search(question, k, ("public", *(audience or ())), source, prefix)
    now = system_clock()
    if as_json:
        from serving.render import as_json as rendered

        for item in found:
            typer.echo(json.dumps(rendered(item, now), ensure_ascii=False))
        return
    from rich.console import Console

    from serving.render import ranked

    if not found:
        typer.echo("Nothing found. Is the flow running, and are there documents? See `headrace status`.", err=True)
        raise typer.Exit(1)
    Console().print(ranked(found, now))


def documents(source: Source = "", as_json: AsJson = False) -> None:
    """List the documents of the knowledge base: how many pieces, which language, for whom, how old."""
    from stores.vectors.choose import open_vector_reader

    found = open_vector_reader(load()).documents(source)
    if as_json:
        for document in found:
            row = {
                "source": document.source,
                "uri": document.uri,
                "title": document.title,
                "language": document.language,
                "audience": list(document.audience),
                "chunks": len(document.chunk_ids),
                "position": document.position,
                "as_of": to_iso(document.as_of),
                "applied_at": to_iso(document.applied_at),
                "metadata": document.metadata,
            }
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from serving.render import span

    table = Table("document", "title", "pieces", "language", "audience", "changed", box=None, header_style="bold")
    now = system_clock()
    for document in found:
        name, audience = f"{document.source}/{document.uri}", ", ".join(document.audience)
        pieces, age = str(len(document.chunk_ids)), span(max(0, now - document.as_of))
        language, changed = document.language or "?", f"{age} ago"
        table.add_row(escape(name), escape(document.title), pieces, language, escape(audience), changed)
    console = Console()
    console.print(table)
    console.print(f"{table.row_count} documents")


def show(
    document: Annotated[str, typer.Argument(help="SOURCE/URI, as `headrace documents` prints it.")],
    as_json: AsJson = False,
) -> None:
    """Print the pieces of one document in their order."""
    from rich.console import Console

    from serving.render import as_json as rendered
    from serving.render import ranked
    from stores.vectors.choose import open_vector_reader

    source, _, uri = document.partition("/")
    found = open_vector_reader(load()).chunks(source, uri)
    if not found:
        typer.echo(f"There is no document {document!r}; `headrace documents` lists all.", err=True)
        raise typer.Exit(1)
    now = system_clock()
    if as_json:
        for item in found:
            typer.echo(json.dumps(rendered(item, now), ensure_ascii=False))
        return
    Console().print(ranked(found, now))
