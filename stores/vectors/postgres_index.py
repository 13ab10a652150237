"""The index on the vectors: built once there are many, in a session of its own, while the writer and readers go on."""

from __future__ import annotations

import logging
import threading

import psycopg
from psycopg.sql import SQL, Identifier

from events.errors import StoreError
from stores.rows.postgres_session import Session, connect, told
from stores.vectors.postgres_schema import MOST_INDEXED, VECTOR_INDEX, Store, vector_index
from stores.vectors.postgres_store import PURPOSE

logger = logging.getLogger(__name__)

_MEMORY = "256MB"


def build_index(session: Session, store: Store) -> None:
    """Index the vectors of the store's table, and let the planner know the table; readers and the writer go on.

    Raises psycopg's errors. What it leaves then is half an index, which nobody uses, and which the next writer drops.
    """
    # One process: several share memory that containers are often short of.
    session.execute(f"SET maintenance_work_mem = '{_MEMORY}'; SET max_parallel_maintenance_workers = 0")
    operators = Identifier(store.extension, "vector_cosine_ops")
    name = Identifier(vector_index(store.generation))
    session.execute(SQL(VECTOR_INDEX).format(name=name, table=store.table, operators=operators))
    session.execute(SQL("ANALYZE {}").format(store.table))


class IndexBuilder:
    """Builds the index when there are enough chunks, at most once; without one the store is searched all the same.

    :arg above: Chunks above which an index is built.
    """

    def __init__(self, dsn: str, store: Store, *, above: int) -> None:
        self._dsn = dsn
        self._store = store
        self._above = above
        self._needed = not store.indexed and store.model.dimension <= MOST_INDEXED
        self._thread: threading.Thread | None = None

    def grown(self, chunks: int) -> None:
        """Take notice of how many chunks there are."""
        if self._needed and chunks > self._above:
            self._needed = False
            self._thread = threading.Thread(target=self._build, name="vector index")
            self._thread.start()

    def close(self) -> None:
        """Wait until what has been begun is finished."""
        if self._thread is not None:
            self._thread.join()

    def _build(self) -> None:
        try:
            session = connect(self._dsn, PURPOSE)
            try:
                with told(session):
                    build_index(session, self._store)
            finally:
                session.close()
        except (StoreError, psycopg.Error) as error:
            logger.warning("the vectors are searched without an index: %s", error)
