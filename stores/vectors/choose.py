"""Which vector store there is: the one that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from events.clock import Clock
from stores.embedders.base import Model
from stores.settings import Settings
from stores.vectors.base import VectorReader, VectorWriter
from stores.vectors.plan import Embed


def open_vector_writer(settings: Settings, model: Model, embed: Embed, clock: Clock) -> VectorWriter:
    """Open the vector store of `settings` for writing.

    :arg model: The model of all vectors.
    :arg embed: Embeds what the store lacks though nobody sent its vectors.
    :raises StoreError: When another writer holds it, it was built with another model, or it cannot be used.
    """
    vectors = settings.vectors
    if vectors.backend == "postgres" and vectors.dsn is not None:
        from stores.vectors.postgres_writer import PostgresVectors

        return PostgresVectors(
            vectors.dsn.get_secret_value(),
            vectors.db_schema,
            model,
            embed=embed,
            clock=clock,
            index_above=vectors.index_above,
        )
    from stores.vectors.lance_writer import LanceWriter

    return LanceWriter(
        settings.vectors_dir,
        model,
        embed=embed,
        clock=clock,
        optimize_every=vectors.optimize_every,
        index_above=vectors.index_above,
    )


def open_vector_reader(settings: Settings, model: Model | None = None) -> VectorReader:
    """Return the reader of the vector store of `settings`; nothing is opened before it is asked.

    :arg model: The model of the questions' vectors; a search of a store of another one is refused. None: not checked.
    """
    vectors = settings.vectors
    if vectors.backend == "postgres" and vectors.dsn is not None:
        from stores.vectors.postgres_reader import PostgresVectorReader

        return PostgresVectorReader(vectors.dsn.get_secret_value(), vectors.db_schema, model)
    from stores.vectors.lance_reader import LanceReader

    return LanceReader(settings.vectors_dir, model)


def may_have_vectors(settings: Settings) -> bool:
    """Tell, without opening anything, whether there may be a vector store already."""
    return settings.vectors.backend == "postgres" or settings.vectors_dir.exists()


def reindex_vectors(
    settings: Settings,
    model: Model,
    embed: Embed,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Embed all chunks of the vector store of `settings` with `model`, and make that the store's model.

    :arg progress: Told after each batch how many chunks are done, and of how many.
    :return: The number of chunks.
    :raises StoreError: When there is no store, or a flow is writing it.
    """
    vectors = settings.vectors
    if vectors.backend == "postgres" and vectors.dsn is not None:
        from stores.vectors import postgres_reindex

        return postgres_reindex.reindex(
            vectors.dsn.get_secret_value(),
            vectors.db_schema,
            model,
            embed=embed,
            progress=progress,
            index_above=vectors.index_above,
        )
    from stores.vectors import lance_reindex

    return lance_reindex.reindex(settings.vectors_dir, model, embed=embed, progress=progress)
