"""What is PostgreSQL's own about profiles kept there; the contract is in tests/contract/test_profiles.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from events.errors import StoreError
from stores.profiles import postgres_schema as schema
from stores.profiles.choose import open_profile_reader, open_profile_writer, schema_of
from stores.profiles.postgres import PostgresProfiles
from stores.profiles.postgres_reader import PostgresProfileReader
from stores.rows.choose import open_row_writer
from stores.rows.postgres import PostgresRows
from stores.settings import RowSettings, Settings
from tests.contract.profile_samples import gone, member, own, profile
from tests.contract.row_samples import NOW, RowPlace, postgres_place, row
from tests.servers.postgres import PostgresServer, running

P = own("a")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> PostgresServer:
    return running(request.config)


@pytest.fixture
def place(server: PostgresServer) -> Iterator[RowPlace]:
    with postgres_place(server.dsn()) as made:
        yield made


@pytest.fixture
def admin(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with server.connect() as session:
        yield session


def test_profiles_are_kept_in_a_schema_beside_that_of_the_live_tables(place: RowPlace, tmp_path: Path) -> None:
    rows = RowSettings(backend="postgres", dsn=SecretStr(place.dsn), db_schema=place.schema)
    settings = Settings(data_dir=tmp_path / "data", rows=rows)
    reader = open_profile_reader(settings)
    assert reader.totals() == (0, 0)
    live, writer = open_row_writer(settings, lambda: NOW), open_profile_writer(settings, lambda: NOW)
    live.put("t", [row(1)])
    writer.put("t", [row(2)])
    writer.put_members([member("a", P)])
    live.close()
    writer.close()
    assert reader.members_of(P) == [member("a", P)]
    assert reader.row("t", *row(1).id) is None
    assert reader.row("t", *row(2).id) == row(2)
    reader.close()
    assert not settings.data_dir.exists()


def test_the_schema_of_profiles_is_another_one_whatever_the_name_of_the_live_tables() -> None:
    assert schema_of("headrace") == "headrace_profiles"
    longest = "x" * 63
    assert longest != schema_of(longest) != schema_of("x" * 62)
    assert len(schema_of(longest).encode()) <= 63


def test_live_tables_and_profiles_are_not_taken_for_each_other(place: RowPlace) -> None:
    PostgresRows(place.dsn, place.schema).close()
    with pytest.raises(StoreError, match="holds other things than profiles"):
        PostgresProfiles(place.dsn, place.schema)
    other = f"{place.schema}_profiles"
    PostgresProfiles(place.dsn, other).close()
    with pytest.raises(StoreError, match="holds other things than live tables"):
        PostgresRows(place.dsn, other)
    PostgresRows(place.dsn, place.schema).close()
    PostgresProfiles(place.dsn, other).close()


def test_a_second_writer_is_refused(place: RowPlace) -> None:
    writer = PostgresProfiles(place.dsn, place.schema)
    with pytest.raises(StoreError, match="another writer holds the profiles"):
        PostgresProfiles(place.dsn, place.schema, patience_millis=10)
    writer.close()


def test_a_reader_whose_session_is_lost_opens_another(place: RowPlace, admin: psycopg.Connection[Any]) -> None:
    writer, reader = PostgresProfiles(place.dsn, place.schema), PostgresProfileReader(place.dsn, place.schema)
    writer.put_members([member("a", P, "email:x")])
    writer.put_profiles({P: profile(P)})
    for _ in range(2):
        assert reader.profile(P) == profile(P)
        assert reader.person_of(P) == P
        assert reader.holders("default", "email:x", 9) == [member("a", P, "email:x")]
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'headrace'"
        )
    with pytest.raises(StoreError, match="connection to PostgreSQL is lost"):
        writer.put_profiles({P: None})
    writer.close()
    reader.close()


def test_nothing_is_kept_of_identifiers_that_are_not_carried_any_more(
    place: RowPlace, admin: psycopg.Connection[Any]
) -> None:
    query = schema.composed(place.schema, "SELECT record FROM {identifiers} ORDER BY record")

    def kept() -> list[str]:
        return [record for (record,) in admin.execute(query)]

    writer = PostgresProfiles(place.dsn, place.schema)
    writer.put_members([member("a", P, "email:x", "email:y"), member("b", P, "email:x"), member("c", P, "email:x")])
    assert kept() == ["a", "a", "b", "c"]
    writer.put_members([member("a", P, "email:y"), gone("b")])
    assert kept() == ["a", "c"]
    writer.forget_persons(["c"], [P], [])
    assert kept() == []
    writer.close()


def test_what_is_found_by_many_keys_is_found_by_an_index(place: RowPlace, admin: psycopg.Connection[Any]) -> None:
    writer = PostgresProfiles(place.dsn, place.schema)
    many = [member(f"r{number}", own(f"r{number}"), f"email:{number}") for number in range(3000)]
    writer.put_members(many)
    writer.put_profiles({one.person: profile(one.person) for one in many[:500]})
    wanted = [one.record for one in many[:1000]]
    admin.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")  # as the writer's session has it
    for query, values in (
        (schema.MEMBERS, [wanted]),
        (schema.MEMBERS_OF, [[own(record) for record in wanted]]),
        (schema.DROP_IDENTIFIERS, [list(range(1000)), wanted]),
        (schema.HOLDERS, [1, "", 5]),
        (schema.SUMMARIES, [[schema.mark(record) for record in wanted]]),
        (schema.PERSON, {"id": P}),
        (schema.FORMER, [P]),
    ):
        statement = sql.SQL("EXPLAIN {}").format(schema.composed(place.schema, query))
        steps = [step.split("(cost")[0].strip() for (step,) in admin.execute(statement, values) if "(cost" in step]
        assert [step for step in steps if "Index" in step]
        assert [step for step in steps if "Seq Scan" in step] == []
    writer.close()
