"""What is PostgreSQL's own about the vector store kept there; the contract is in tests/contract/test_vectors.py."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from dataflows.knowledge import Preparation
from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from events.errors import StoreError
from events.log import Mark
from fixtures.corpus import DOCUMENTS, media_type
from stores.embedders.base import Model
from stores.embedders.hashing import HashingEmbedder
from stores.rows.postgres import PostgresRows
from stores.rows.postgres_session import connect
from stores.settings import Settings, VectorSettings
from stores.vectors.base import Query, VectorReader
from stores.vectors.choose import may_have_vectors, open_vector_reader, open_vector_writer, reindex_vectors
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from stores.vectors.plan import Embed
from stores.vectors.postgres_reader import PostgresVectorReader
from stores.vectors.postgres_reindex import reindex
from stores.vectors.postgres_store import require_extension
from stores.vectors.postgres_words import plain_words
from stores.vectors.postgres_writer import PostgresVectors
from tests.contract.row_samples import postgres_place
from tests.servers.postgres import PostgresServer, running
from tests.stores.vector_samples import MODEL, chunk_id, delete, embed, upsert, vector_of

LARGER = Model(name="words", version="2", dimension=96, max_tokens=254)
SECRETS = "hunter2", "db.invalid", "somebody", "payroll"


def embed_larger(texts: Sequence[str]) -> list[bytes]:
    return [np.asarray(vector_of(text, LARGER.dimension), dtype="<f4").tobytes() for text in texts]


class Place:
    """A schema of the server, and the stores that a test opens in it."""

    def __init__(self, server: PostgresServer, schema: str) -> None:
        self.server = server
        self.schema = schema
        self._opened: list[PostgresVectors | PostgresVectorReader] = []

    def writer(self, model: Model = MODEL, *, with_: Embed = embed, index_above: int = 20_000) -> PostgresVectors:
        writer = PostgresVectors(
            self.server.dsn(),
            self.schema,
            model,
            embed=with_,
            clock=lambda: 9,
            index_above=index_above,
            patience_millis=100,
        )
        self._opened.append(writer)
        return writer

    def reader(self, model: Model | None = None) -> PostgresVectorReader:
        reader = PostgresVectorReader(self.server.dsn(), self.schema, model)
        self._opened.append(reader)
        return reader

    def reindex(self, model: Model = LARGER, with_: Embed = embed_larger, **options: Any) -> int:
        return reindex(self.server.dsn(), self.schema, model, embed=with_, patience_millis=100, **options)

    def tables(self) -> list[str]:
        query = (
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'headrace_chunks%%' ORDER BY 1"
        )
        with self.server.connect() as db:
            return [name for (name,) in db.execute(query, (self.schema,))]

    def indexes(self) -> list[str]:
        query = "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND indexdef LIKE '%%hnsw%%'"
        with self.server.connect() as db:
            return [name for (name,) in db.execute(query, (self.schema,))]

    def close(self) -> None:
        for one in self._opened:
            one.close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> PostgresServer:
    return running(request.config)


@pytest.fixture
def place(server: PostgresServer) -> Iterator[Place]:
    with postgres_place(server.dsn()) as made:
        opened = Place(server, made.schema)
        yield opened
        opened.close()


@pytest.fixture
def admin(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with server.connect() as session:
        yield session


def texts(reader: VectorReader, query: Query) -> list[str]:
    return [item.text for item in reader.search(query)]


# Connections and rights


@pytest.mark.parametrize(
    "dsn",
    [
        "host=127.0.0.1 port=1 user=somebody password=hunter2 dbname=payroll",
        "host=/nowhere/db.invalid user=somebody password=hunter2 dbname=payroll",
        "host=db.invalid hunter2",
        "password=hunter2\0",
    ],
)
def test_no_error_tells_the_connection_string_but_where_to_correct_it(dsn: str) -> None:
    with pytest.raises(StoreError) as writing:
        PostgresVectors(dsn, "v", MODEL, embed=embed, clock=lambda: 9)
    with pytest.raises(StoreError) as reading:
        PostgresVectorReader(dsn, "v").totals()
    for error in (writing.value, reading.value):
        assert "HEADRACE_VECTORS__DSN" in error.hint
        assert not [secret for secret in SECRETS if secret in str(error)]


def test_a_server_without_pgvector_is_refused_with_the_remedy(server: PostgresServer) -> None:
    with closing(connect(server.dsn())) as session:
        with pytest.raises(StoreError, match=r"does not have the extension pgvector.*install it") as refused:
            require_extension(session, "not_there")
        assert "\n" not in str(refused.value)


def test_a_user_who_may_not_create_the_extension_is_told_who_may(admin: psycopg.Connection[Any]) -> None:
    admin.execute("CREATE DATABASE bare TEMPLATE template0 ENCODING 'UTF8'")
    admin.execute("CREATE ROLE guest LOGIN")
    dsn = f"host={admin.info.host} user=guest dbname=bare"
    try:
        with pytest.raises(StoreError, match=r"may not create the extension pgvector.*CREATE EXTENSION vector"):
            PostgresVectors(dsn, "v", MODEL, embed=embed, clock=lambda: 9)
    finally:
        admin.execute("DROP DATABASE bare")
        admin.execute("DROP ROLE guest")


def test_a_schema_of_others_is_not_touched(place: Place, admin: psycopg.Connection[Any]) -> None:
    admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place.schema)))
    admin.execute(sql.SQL("CREATE TABLE {} (a int)").format(sql.Identifier(place.schema, "theirs")))
    with pytest.raises(StoreError, match=r"other tables than Headrace's.*vectors\.db_schema"):
        place.writer()


def test_the_schema_of_live_tables_is_refused_by_writer_and_reader(place: Place) -> None:
    PostgresRows(place.server.dsn(), place.schema).close()
    with pytest.raises(StoreError, match="holds another store than one of vectors"):
        place.writer()
    with pytest.raises(StoreError):
        place.reader().totals()


def test_a_store_of_a_newer_layout_is_refused(place: Place, admin: psycopg.Connection[Any]) -> None:
    place.writer().close()
    admin.execute(sql.SQL("UPDATE {} SET version = version + 1").format(sql.Identifier(place.schema, "headrace_store")))
    with pytest.raises(StoreError, match="made by another version"):
        place.writer()
    with pytest.raises(StoreError, match="made by another version"):
        place.reader().search(Query(text="a"))


def test_a_reader_needs_no_right_but_to_read(place: Place, admin: psycopg.Connection[Any]) -> None:
    place.writer().write([upsert("a", "one thing")])
    schema = sql.Identifier(place.schema)
    admin.execute("CREATE ROLE onlooker LOGIN")
    admin.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO onlooker").format(schema))
    admin.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO onlooker").format(schema))
    admin.execute("GRANT USAGE ON SCHEMA public TO onlooker")  # where the extension is; most servers let everybody
    with closing(PostgresVectorReader(place.server.dsn("onlooker"), place.schema)) as reader:
        assert texts(reader, Query(text="thing", vector=vector_of("one thing"))) == ["one thing"]
    admin.execute("DROP OWNED BY onlooker")
    admin.execute("DROP ROLE onlooker")


def test_a_lost_session_ends_the_writer_and_only_delays_a_reader(place: Place, admin: psycopg.Connection[Any]) -> None:
    writer, reader = place.writer(), place.reader()
    writer.write([upsert("a", "one")])
    assert reader.totals() == (1, 1)
    admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'headrace'")
    assert reader.totals() == (1, 1)
    with pytest.raises(StoreError, match="connection to PostgreSQL is lost"):
        writer.write([upsert("b", "two")])
    place.writer().write([upsert("b", "two")])
    assert reader.totals() == (2, 2)


def test_a_commit_that_fails_leaves_no_trace(place: Place, admin: psycopg.Connection[Any]) -> None:
    writer, reader = place.writer(), place.reader()
    writer.write([upsert("a", "one")])
    marks = sql.Identifier(place.schema, "headrace_marks")
    admin.execute(sql.SQL('ALTER TABLE {} ADD CONSTRAINT small CHECK ("offset" < 5)').format(marks))
    with pytest.raises(StoreError, match="PostgreSQL refused"):
        writer.write([upsert("a", "two", position=2)], [Mark("docs", "0", 7, 1, 1, caught_up=True)])
    assert [item.text for item in reader.chunks("docs", "a")] == ["one"]
    admin.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT small").format(marks))
    assert writer.write([upsert("a", "two", position=2)], [Mark("docs", "0", 7, 1, 1, caught_up=True)]).written == 1
    assert (reader.totals(), reader.applied()[0].offset) == ((1, 1), 7)


# What is stored


def test_names_and_texts_of_any_length_are_stored_and_found(place: Place) -> None:
    writer, reader = place.writer(), place.reader()
    long = "".join(f"{number:05d}" for number in range(2_000))
    endless = "ab" * 600_000
    writer.write([upsert(long, "word", endless, source=long, audience=(long,), language=long[:9], heading=(long,))])
    assert texts(reader, Query(text="word", audiences=(long,), source=long, uri_prefix=long)) == ["word"]
    assert texts(reader, Query(text="word", audiences=(long[:-1],))) == []
    assert [item.text for item in reader.chunks(long, long)] == ["word", endless]
    assert reader.newest_position(long) == 1


def test_nul_and_what_stands_for_it_are_kept_apart(place: Place) -> None:
    writer, reader = place.writer(), place.reader()
    odd = "a\0b\x01c"
    writer.write([upsert(odd, odd, title=odd, audience=(odd,), source=odd, metadata={odd: odd}, fingerprint=odd)])
    (found,) = reader.documents(odd)
    assert (found.uri, found.title, found.audience, found.metadata) == (odd, odd, (odd,), {odd: odd})
    assert texts(reader, Query(text="b", audiences=(odd,), source=odd, uri_prefix="a\0")) == [odd]
    assert texts(reader, Query(text="b", audiences=(odd,), uri_prefix="a\x01")) == []


def test_a_question_with_half_a_character_finds_what_the_rest_of_it_says(place: Place) -> None:
    writer, reader = place.writer(), place.reader()
    writer.write([upsert("a", "word")])
    assert texts(reader, Query(text="\ud800 word")) == ["word"]
    assert texts(reader, Query(text="word", uri_prefix="\ud800")) == []
    assert list(reader.documents("\ud800")) == []
    assert reader.chunks("docs", "\ud800") == []


# Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Check-in AND/OR e.g. v2.0", "check in and or e g v2 0"),
        ("Café Ångström Straße Łódź", "cafe angstrom strasse lodz"),
        ("мой ёж", "мой ёж"),
        ("हिन्दी", "हिन्दी"),
        ("東京・大阪", "東京 大阪"),
        ("\0\x01_*'\\ \ud800", ""),
    ],
)
def test_only_plain_words_reach_the_parser(text: str, words: str) -> None:
    assert plain_words(text) == words


def test_words_are_stemmed_by_the_rules_of_their_documents_language(place: Place) -> None:
    writer, reader = place.writer(), place.reader()
    writer.write(
        [
            upsert("en", "cancelled bookings", language="en"),
            upsert("de", "die Häuser der Stadt", language="de"),
            upsert("??", "bookings elsewhere", language="??"),
        ]
    )
    assert texts(reader, Query(text="booking")) == ["cancelled bookings"]
    assert texts(reader, Query(text="haus")) == ["die Häuser der Stadt"]
    assert set(texts(reader, Query(text="BOOKINGS"))) == {"cancelled bookings", "bookings elsewhere"}
    assert texts(reader, Query(text="bookings", language="en")) == ["cancelled bookings"]
    assert texts(reader, Query(text="bookings", language="de")) == []
    assert texts(reader, Query(text="der")) == []


def test_a_changed_language_stems_the_same_words_anew(place: Place) -> None:
    writer, reader = place.writer(), place.reader()
    writer.write([upsert("a", "Häuser", language="en")])
    assert texts(reader, Query(text="haus")) == []
    writer.write([upsert("a", "Häuser", language="de", position=2, vectors=False)])
    assert texts(reader, Query(text="haus")) == ["Häuser"]


def okapi(question: str, texts: Sequence[str]) -> dict[str, float]:
    """Return the texts with a word of the question, each with its score by BM25 with k1 = 1.2 and b = 0.75."""
    counts = {text: Counter(text.split()) for text in texts}
    mean = sum(len(text.split()) for text in texts) / len(texts)
    scores: dict[str, float] = {}
    for word in set(question.split()):
        having = [text for text in texts if word in counts[text]]
        weight = math.log(1 + (len(texts) - len(having) + 0.5) / (len(having) + 0.5))
        for text in having:
            often, length = counts[text][word], len(text.split())
            part = weight * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * length / mean))
            scores[text] = scores.get(text, 0.0) + part
    return scores


def some_texts(many: int) -> list[str]:
    """Texts of made-up words, the n-th of which is n times rarer than the first; all of them different."""
    random = np.random.default_rng(11)
    shares = 1 / np.arange(1, 201)
    return [
        " ".join([f"id{number}", *(f"w{n}" for n in random.choice(200, 5 + number % 20, p=shares / shares.sum()))])
        for number in range(many)
    ]


def test_the_ranking_by_words_is_okapi_bm25(place: Place) -> None:
    writer, reader = place.writer(), place.reader()
    corpus = some_texts(300)
    writer.write([upsert(f"{n // 20}", *corpus[n : n + 20], language="") for n in range(0, 300, 20)])
    writer.write([upsert("0", *corpus[:10], language="", position=2)])  # of ten texts nothing may stay
    corpus = corpus[:10] + corpus[20:]
    for question in ("w3", "w1 w30", "w0 w7 w60 w7", "id77 w2", "w150 w0"):
        scores = okapi(question, corpus)
        best = sorted(scores.values(), reverse=True)[:10]
        assert [scores[text] for text in texts(reader, Query(text=question, k=10))] == pytest.approx(best)


def test_words_that_are_everywhere_rank_what_rarer_ones_find_and_find_when_alone(place: Place) -> None:
    writer, reader = place.writer(), place.reader()
    corpus = [f"common id{number} {'rare' if number % 20 == 7 else 'plain'}" for number in range(1_200)]
    corpus[7] = "common common rare"
    writer.write([upsert(f"{n}", *corpus[n : n + 100], language="") for n in range(0, 1_200, 100)])
    assert texts(reader, Query(text="common rare", k=1)) == [corpus[7]]
    assert len(texts(reader, Query(text="common plain", k=10))) == 10
    assert texts(reader, Query(text="common id5", k=2))[0] == corpus[5]


# Vectors and their index


def clustered(many: int, seed: int) -> npt.NDArray[np.float32]:
    """Unit vectors around fifty middles, as those of texts lie around topics."""
    random = np.random.default_rng(seed)
    middles = np.random.default_rng(1).standard_normal((50, MODEL.dimension))
    vectors = middles[random.integers(50, size=many)] + 0.7 * random.standard_normal((many, MODEL.dimension))
    units: npt.NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")
    return units


def update_of(number: int, vectors: npt.NDArray[np.float32], audience: tuple[str, ...]) -> DocumentUpdate:
    names = [chunk_id(str(number), str(place)) for place in range(len(vectors))]
    change = DocumentChange("docs", str(number), "upsert", 1, 1, audience=audience)
    chunks = tuple(Chunk(name, (), f"text {number}-{place}", 2) for place, name in enumerate(names))
    stored = {name: vector.tobytes() for name, vector in zip(names, vectors, strict=True)}
    return DocumentUpdate(ChunkedDocument(change, "", "en", chunks), vectors=stored)


def test_the_index_finds_nearly_what_is_nearest_and_filters_do_not_starve_it(place: Place) -> None:
    writer, reader = place.writer(index_above=1_500), place.reader(MODEL)
    vectors = clustered(2_000, 2)
    for start in range(0, 2_000, 100):
        # The few that only staff may see lie in all directions.
        audience = ("staff",) if start == 1_000 else ("public",)
        writer.write([update_of(start // 100, vectors[start : start + 100], audience)])
    writer.close()
    assert place.indexes() == ["headrace_by_vector_1"]
    names = [f"text {number // 100}-{number % 100}" for number in range(2_000)]
    staff = [n for n in range(2_000) if n // 100 == 10]
    public = [n for n in range(2_000) if n // 100 != 10]
    found = right = 0
    for question in clustered(40, 3):
        nearness = vectors @ question
        for label, allowed in (("public", public), ("staff", staff)):
            nearest = {names[n] for n in sorted(allowed, key=lambda n: -nearness[n])[:10]}
            hits = texts(reader, Query(vector=question.tolist(), k=10, audiences=(label,)))
            assert len(hits) == 10
            found += 10
            right += len(nearest.intersection(hits))
    assert right / found >= 0.95


def test_half_an_index_is_dropped_and_built_again(place: Place, admin: psycopg.Connection[Any]) -> None:
    writer = place.writer(index_above=5)
    writer.write([upsert("a", *(f"text {number}" for number in range(9)))])
    writer.close()
    index = sql.Identifier(place.schema, "headrace_by_vector_1")
    before = admin.execute("SELECT %s::regclass::oid", (index.as_string(),)).fetchone()
    admin.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (index.as_string(),))
    place.writer(index_above=5).close()
    after = admin.execute(
        "SELECT oid FROM pg_class JOIN pg_index ON oid = indexrelid WHERE indisvalid AND relname = %s "
        "AND relnamespace = %s::regnamespace",
        ("headrace_by_vector_1", place.schema),
    ).fetchone()
    assert after is not None
    assert after != before


# Reindexing


@pytest.fixture
def filled(place: Place) -> Place:
    writer = place.writer()
    writer.write([upsert("a", "one thing", "two things", heading=("H",)), upsert("b", "three"), upsert("c", "four")])
    writer.write([upsert("a", "two things", "1 thing", position=2, heading=("H",)), delete("c", position=2)])
    writer.write([], [Mark("docs", "0", 4, 5, 6, caught_up=True)])
    writer.close()
    return place


def content(reader: VectorReader) -> object:
    return list(reader.documents()), [reader.chunks("docs", uri) for uri in "abc"], reader.applied(), reader.totals()


def test_a_reindexed_store_holds_the_same_and_finds_it_by_the_new_vectors(filled: Place) -> None:
    reader = filled.reader()
    before = content(reader)
    told: list[tuple[int, int]] = []
    embedded: list[str] = []

    def embed_and_note(texts: Sequence[str]) -> list[bytes]:
        embedded.extend(texts)
        return embed_larger(texts)

    assert filled.reindex(with_=embed_and_note, progress=lambda done, total: told.append((done, total))) == 3
    assert sorted(embedded) == ["H\n\n1 thing", "H\n\ntwo things", "three"]
    assert told[-1] == (3, 3)
    assert content(reader) == before
    query = Query(vector=vector_of("H two things", LARGER.dimension), k=1)
    assert texts(filled.reader(LARGER), query) == ["two things"]
    assert texts(reader, Query(text="three")) == ["three"]
    with pytest.raises(StoreError, match="headrace reindex"):
        filled.reader(MODEL).search(Query(text="three"))


def test_writing_goes_on_after_a_reindex_with_the_new_model_and_the_old_identity(filled: Place) -> None:
    writer = filled.writer()
    identity = writer.identity()
    with pytest.raises(StoreError, match="another process"):
        filled.reindex()
    writer.close()
    filled.reindex()
    with pytest.raises(StoreError, match="headrace reindex"):
        filled.writer()
    writer = filled.writer(LARGER, with_=embed_larger)
    assert writer.identity() == identity
    assert filled.tables() == ["headrace_chunks_2"]
    assert writer.write([upsert("c", "old", position=1, vectors=False)]).stale == 1
    writer.write([upsert("b", "three", "new", position=2, vectors=False)])
    assert [item.text for item in filled.reader(LARGER).chunks("docs", "b")] == ["three", "new"]


def test_an_interrupted_reindex_leaves_the_store_as_it_was_and_the_next_one_succeeds(filled: Place) -> None:
    reader = filled.reader(MODEL)
    before = content(reader)

    def fail(texts: Sequence[str]) -> list[bytes]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled.reindex(with_=fail)
    assert content(reader) == before
    assert texts(reader, Query(vector=vector_of("three"), k=1)) == ["three"]
    assert filled.reindex(index_above=2) == 3
    assert filled.tables() == ["headrace_chunks_1", "headrace_chunks_2"]
    assert filled.indexes() == ["headrace_by_vector_2"]


def test_a_cut_goes_on_with_the_table_that_a_reindex_has_replaced(filled: Place) -> None:
    reader = filled.reader(MODEL)
    before = content(reader)
    query = Query(vector=vector_of("H two things"), text="things", k=3)
    with reader.cut() as cut:
        found = cut.search(query)
        filled.reindex()
        writer = filled.writer(LARGER, with_=embed_larger)
        writer.write([upsert("b", "three", "new", position=2, vectors=False)])
        writer.close()
        assert content(cut) == before
        assert cut.search(query) == found
    with pytest.raises(StoreError, match="headrace reindex"):
        reader.search(query)
    filled.writer(LARGER, with_=embed_larger)
    assert filled.tables() == ["headrace_chunks_2"]


def test_a_reindex_of_nothing_is_refused(place: Place) -> None:
    with pytest.raises(StoreError, match="no vector store"):
        place.reindex()


# Chosen by settings; as good as the other store


def test_the_settings_choose_the_store_and_its_reindexing(place: Place, tmp_path: Path) -> None:
    vectors = VectorSettings(backend="postgres", dsn=SecretStr(place.server.dsn()), db_schema=place.schema)
    chosen = Settings(data_dir=tmp_path / "data", vectors=vectors)
    assert may_have_vectors(chosen)
    with open_vector_writer(chosen, MODEL, embed, lambda: 9) as writer:
        writer.write([upsert("a", "one thing")])
    assert reindex_vectors(chosen, LARGER, embed_larger) == 1
    with closing(open_vector_reader(chosen, LARGER)) as reader:
        assert texts(reader, Query(text="things", vector=vector_of("thing", LARGER.dimension))) == ["one thing"]
    assert not chosen.data_dir.exists()


def test_the_default_is_a_folder(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path / "data")
    assert not may_have_vectors(chosen)
    with open_vector_writer(chosen, MODEL, embed, lambda: 9) as writer:
        writer.write([upsert("a", "one thing")])
    assert may_have_vectors(chosen)
    assert reindex_vectors(chosen, LARGER, embed_larger) == 1
    with closing(open_vector_reader(chosen, LARGER)) as reader:
        assert reader.totals() == (1, 1)


def test_the_fixtures_are_found_as_the_other_store_finds_them(place: Place, tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    prepare = Preparation(Settings(), embedder)
    updates: list[DocumentUpdate] = []
    for path in sorted(DOCUMENTS.rglob("*.md"))[::2]:
        uri = path.relative_to(DOCUMENTS).as_posix()
        change = DocumentChange("docs", uri, "upsert", 1, 1, path.read_bytes(), media_type(uri))
        for document in prepare.change(change):
            vectors = [
                vector.astype("<f4").tobytes()
                for vector in embedder.embed([chunk.embedded for chunk in document.chunks])
            ]
            names = [chunk.id for chunk in document.chunks]
            updates.append(DocumentUpdate(document, vectors=dict(zip(names, vectors, strict=True))))
    questions = sorted(
        {" ".join(chunk.heading) for update in updates for chunk in update.document.chunks if chunk.heading}
    )[::4]
    place.writer(embedder.model).write(updates)
    with LanceWriter(tmp_path, embedder.model, embed=embed, clock=lambda: 9) as writer:
        writer.write(updates)
    one, other = place.reader(embedder.model), LanceReader(tmp_path, embedder.model)
    for words in (False, True):
        same = asked = 0
        for question, vector in zip(questions, embedder.embed(questions), strict=True):
            query = Query(vector=vector.tolist(), text=question if words else "", k=8)
            expected = {item.id for item in other.search(query)}
            asked += len(expected)
            same += len(expected.intersection(item.id for item in one.search(query)))
        assert same / asked >= 0.95
    assert json.loads(msgspec.json.encode(one.totals())) == list(other.totals())
