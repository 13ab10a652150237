"""The vector store in PostgreSQL against a plain dictionary, with and without an index on its few vectors."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.vectors.postgres_reader import PostgresVectorReader
from stores.vectors.postgres_writer import PostgresVectors
from tests.contract.row_samples import postgres_place
from tests.property.vectors_model import History, calls, check
from tests.servers.postgres import PostgresServer, running
from tests.stores.vector_samples import MODEL, embed

EXAMPLES = max(15, settings().max_examples // 6)  # each makes a schema


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> PostgresServer:
    return running(request.config)


@settings(max_examples=EXAMPLES)
@given(history=calls, index_above=st.sampled_from([0, 10**9]))
def test_any_sequence_of_updates_ends_in_what_a_dictionary_says(
    server: PostgresServer, history: History, index_above: int
) -> None:
    with postgres_place(server.dsn()) as place, closing(PostgresVectorReader(place.dsn, place.schema, MODEL)) as reader:

        def writer() -> PostgresVectors:
            return PostgresVectors(
                place.dsn, place.schema, MODEL, embed=embed, clock=lambda: 7, index_above=index_above
            )  # fmt: skip

        check(history, writer, reader)
