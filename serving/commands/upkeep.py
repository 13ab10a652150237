"""Commands that change the knowledge base while its flow stands still: built anew, or freed of a source."""

from __future__ import annotations

from typing import Annotated

import typer

from events.clock import system_clock
from events.documents import ChunkedDocument, DocumentChange, DocumentUpdate
from events.errors import HeadraceError
from events.log import Mark
from stores.settings import load


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(reindex)
    app.command()(drop)


def reindex() -> None:
    """Embed everything anew with the configured model, beside the old index, and switch when it is complete.

    Needed when the model has changed. Stop the knowledge flow first; searches go on meanwhile.
    """
    from rich.console import Console
    from rich.progress import Progress

    from stores.embedders.choose import open_embedder
    from stores.vectors.choose import reindex_vectors

    settings = load()
    embedder = open_embedder(settings)
    bar = Progress(console=Console(stderr=True))
    task = bar.add_task("reindex", total=None)

    def progress(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        count = reindex_vectors(settings, embedder.model, embedder.embed_bytes, progress)
    finally:
        bar.stop()
    typer.echo(f"{count} pieces embedded with {embedder.model.id}")


def drop(source: Annotated[str, typer.Argument(help="A folder or stream that is not configured any more.")]) -> None:
    """Remove all documents of a source from the knowledge base. Stop the knowledge flow first.

    A source that is still configured would bring them back: take it out of headrace.toml before.
    """
    from stores.embedders.choose import choose_embedder
    from stores.vectors.choose import open_vector_reader, open_vector_writer

    settings = load()
    if source in {folder.name for folder in settings.knowledge.folders} | set(settings.knowledge.streams):
        detail = f"{source!r} is still configured"
        raise HeadraceError(detail, "take it out of headrace.toml first")
    reader = open_vector_reader(settings)
    documents = list(reader.documents(source))
    if not documents:
        detail = f"there is no document of {source!r}"
        raise HeadraceError(detail, "`headrace documents` lists all, `headrace status` the sources")
    now = system_clock()
    updates = [
        DocumentUpdate(ChunkedDocument(DocumentChange(source, found.uri, "delete", found.position + 1, now)))
        for found in documents
    ]
    # Should a folder of that name come back, its positions must go on after these.
    beyond = max(found.position for found in documents) + 2
    marks = [
        Mark(source, mark.partition, max(mark.offset, beyond), mark.event_time, mark.read_at, mark.caught_up)
        for mark in reader.applied()
        if mark.source == source and any(found.fingerprint for found in documents)
    ]
    model = choose_embedder(settings.embedding.backend).model
    with open_vector_writer(settings, model, lambda texts: [], system_clock) as writer:
        writer.write(updates, marks)
    typer.echo(f"{len(documents)} documents of {source} removed")
