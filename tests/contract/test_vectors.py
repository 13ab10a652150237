"""What every vector store must do, whatever it is kept in. An adapter joins by an entry in `ADAPTERS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from events.context import FoundChunk
from events.errors import RejectedError, StoreError
from events.log import Applied, Mark
from stores.embedders.base import Model
from stores.vectors.base import Query, StoredDocument, VectorReader, VectorWriter, WriteReport
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from stores.vectors.postgres_reader import PostgresVectorReader
from stores.vectors.postgres_writer import PostgresVectors
from tests.contract.row_samples import postgres_place
from tests.servers.postgres import running
from tests.stores.vector_samples import DIMENSION, MODEL, chunk_id, delete, embed, upsert, vector_of

NOW = 5_000_000
OTHER_MODEL = Model(name="other", version="1", dimension=DIMENSION, max_tokens=254)


class Place(ABC):
    """Where one store of one kind lies, and how it is opened."""

    def __init__(self) -> None:
        self.now = NOW
        self.embedded: list[str] = []
        self._opened: list[VectorWriter | VectorReader] = []

    def writer(self, model: Model = MODEL) -> VectorWriter:
        writer = self._writer(model)
        self._opened.append(writer)
        return writer

    def reader(self, model: Model | None = None) -> VectorReader:
        reader = self._reader(model)
        self._opened.append(reader)
        return reader

    @abstractmethod
    def other(self) -> Place:
        """Return a place for another store of this kind."""

    @abstractmethod
    def _writer(self, model: Model) -> VectorWriter: ...

    @abstractmethod
    def _reader(self, model: Model | None) -> VectorReader: ...

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.embedded.extend(texts)
        return embed(texts)

    def close(self) -> None:
        for one in self._opened:
            one.close()


class LancePlace(Place):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def other(self) -> Place:
        return LancePlace(self._path / "other")

    def _writer(self, model: Model) -> VectorWriter:
        return LanceWriter(self._path, model, embed=self.embed, clock=lambda: self.now)

    def _reader(self, model: Model | None) -> VectorReader:
        return LanceReader(self._path, model)


class PostgresPlace(Place):
    def __init__(self, dsn: str, schema: str) -> None:
        super().__init__()
        self._dsn = dsn
        self._schema = schema

    def other(self) -> Place:
        return PostgresPlace(self._dsn, f"{self._schema}_other")

    def _writer(self, model: Model) -> VectorWriter:
        return PostgresVectors(
            self._dsn, self._schema, model, embed=self.embed, clock=lambda: self.now, patience_millis=100
        )

    def _reader(self, model: Model | None) -> VectorReader:
        return PostgresVectorReader(self._dsn, self._schema, model)


@contextmanager
def lance(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield LancePlace(request.getfixturevalue("tmp_path") / "vectors")


@contextmanager
def postgres(request: pytest.FixtureRequest) -> Iterator[Place]:
    with postgres_place(running(request.config).dsn()) as free:
        yield PostgresPlace(free.dsn, free.schema)


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Place]]] = {
    "lance": lance,
    "postgres": postgres,
}


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with ADAPTERS[request.param](request) as opened:
        yield opened
        opened.close()


@pytest.fixture
def writer(place: Place) -> VectorWriter:
    return place.writer()


@pytest.fixture
def reader(place: Place) -> VectorReader:
    return place.reader(MODEL)


def texts(items: list[FoundChunk]) -> list[str]:
    return [item.text for item in items]


def found(reader: VectorReader, words: str = "", **filters: object) -> set[str]:
    """Return the texts that a search by meaning and words finds."""
    query = msgspec.convert({"text": words, "vector": vector_of(words), "k": 50, **filters}, Query)
    return set(texts(reader.search(query)))


def mark(offset: int = 7, *, partition: str = "0", source: str = "docs", caught_up: bool = True) -> Mark:
    return Mark(source=source, partition=partition, offset=offset, event_time=90, read_at=95, caught_up=caught_up)


# Reading


def test_a_store_that_was_never_written_answers_with_nothing(place: Place, reader: VectorReader) -> None:
    assert reader.search(Query(vector=vector_of("x"), text="x")) == []
    assert list(reader.documents()) == []
    assert reader.chunks("docs", "a.md") == []
    assert reader.applied() == []
    place.writer()
    assert reader.search(Query(vector=vector_of("x"), text="x")) == []


def test_a_stored_document_is_read_back_whole_and_in_order(writer: VectorWriter, reader: VectorReader) -> None:
    update = upsert("a.md", "one", "two", "one", position=3, event_time=80, title="A", heading=("A", "B"))
    assert writer.write([update]) == WriteReport(written=3)
    assert reader.chunks("docs", "a.md") == [
        FoundChunk(
            id=chunk_id("docs/a.md", text, occurrence),
            text=text,
            title="A",
            heading=("A", "B"),
            source="docs",
            uri="a.md",
            position=3,
            as_of=80,
            since=80,
            applied_at=NOW,
            ordinal=ordinal,
            score=0.0,
        )
        for ordinal, (text, occurrence) in enumerate([("one", 0), ("two", 0), ("one", 1)])
    ]


def test_documents_are_listed_by_source_and_uri_with_all_that_is_known(
    writer: VectorWriter, reader: VectorReader
) -> None:
    described = upsert(
        "b.md", "x", position=2, title="B", language="de", audience=("staff",), metadata={"k": "v"}, fingerprint="f"
    )
    writer.write([upsert("z.md", "z", source="wiki"), upsert("Ä.md"), described, upsert("a.md"), delete("gone.md")])
    assert [(held.source, held.uri) for held in reader.documents()] == [
        ("docs", "a.md"),
        ("docs", "b.md"),
        ("docs", "Ä.md"),
        ("wiki", "z.md"),
    ]
    assert [held.uri for held in reader.documents("wiki")] == ["z.md"]
    assert next(held for held in reader.documents() if held.uri == "b.md") == StoredDocument(
        source="docs",
        uri="b.md",
        position=2,
        fingerprint="f",
        as_of=2_000,
        applied_at=NOW,
        title="B",
        language="de",
        audience=("staff",),
        chunk_ids=(chunk_id("docs/b.md", "x"),),
        metadata={"k": "v"},
    )


def test_a_reader_sees_each_commit_at_once(place: Place, writer: VectorWriter) -> None:
    reader = place.reader()
    for position in range(1, 6):
        writer.write([upsert("a.md", f"text {position}", position=position)])
        assert texts(reader.chunks("docs", "a.md")) == [f"text {position}"]
        assert found(reader, "text") == {f"text {position}"}


# Searching


def test_search_by_meaning_finds_the_nearest_first(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "red wine", "red wine glass", "blue cheese", "green tea pot")])
    items = reader.search(Query(vector=vector_of("red wine"), k=2))
    assert texts(items) == ["red wine", "red wine glass"]
    assert items[0].score > items[1].score


def test_search_by_words_ignores_case_inflection_and_accents(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "The Cancelled bookings", "café menu", "something else")])
    assert texts(reader.search(Query(text="BOOKING"))) == ["The Cancelled bookings"]
    assert texts(reader.search(Query(text="cafe"))) == ["café menu"]


def test_a_heading_is_searched_with_its_text(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write(
        [upsert("a.md", "It is free.", heading=("Luggage",)), upsert("b.md", "It is not.", heading=("Meals",))]
    )
    assert texts(reader.search(Query(text="luggage"))) == ["It is free."]


def test_what_both_meaning_and_words_find_comes_first(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "alpha beta", "gamma delta", "alpha omega")])
    items = reader.search(Query(vector=vector_of("alpha beta"), text="beta", k=3))
    assert items[0].text == "alpha beta"
    assert [item.score for item in items] == sorted((item.score for item in items), reverse=True)


@pytest.mark.parametrize(
    "question",
    [
        '"unclosed',
        "a AND (b OR",
        "+must -not",
        "title:x^2",
        "*",
        "?!",
        "'; --",
        "the of and",
        " ",
        "\x00",
        "a\\",
        "~1 [2]",
    ],
)
def test_nothing_in_a_question_is_syntax(writer: VectorWriter, reader: VectorReader, question: str) -> None:
    writer.write([upsert("a.md", "plain words")])
    assert reader.search(Query(text=question)) == []
    assert texts(reader.search(Query(text=f"{question} words"))) == ["plain words"]


def test_a_question_of_neither_meaning_nor_words_finds_nothing(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "plain words")])
    assert reader.search(Query()) == []
    assert reader.search(Query(text="words", k=0)) == []


def test_an_item_says_since_when_its_text_is_there_and_up_to_when_it_is_true(
    place: Place, writer: VectorWriter, reader: VectorReader
) -> None:
    writer.write([upsert("a.md", "old text", "other", position=1, event_time=10)])
    place.now = NOW + 5
    writer.write([upsert("a.md", "new text", "old text", position=4, event_time=40, title="T")])
    (item,) = reader.search(Query(text="old"))
    assert (item.since, item.as_of, item.position, item.applied_at) == (10, 40, 4, NOW + 5)
    assert (item.ordinal, item.title) == (1, "T")
    (newer,) = reader.search(Query(text="new"))
    assert (newer.since, newer.as_of, newer.ordinal) == (40, 40, 0)


# Filters


def test_only_documents_that_share_an_audience_are_found(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write(
        [
            upsert("a.md", "word public"),
            upsert("b.md", "word staff", audience=("staff", "board")),
            upsert("c.md", "word nobody", audience=()),
        ]
    )
    assert found(reader, "word") == {"word public"}
    assert found(reader, "word", audiences=("staff",)) == {"word staff"}
    assert found(reader, "word", audiences=("board", "public")) == {"word public", "word staff"}
    assert found(reader, "word", audiences=()) == set()


def test_filters_apply_before_ranking(writer: VectorWriter, reader: VectorReader) -> None:
    better = [upsert(f"{number}.md", f"exact words {number}") for number in range(300)]
    writer.write([*better, upsert("secret.md", "exact or not", audience=("staff",))])
    assert texts(reader.search(Query(vector=vector_of("exact words"), k=1, audiences=("staff",)))) == ["exact or not"]
    assert texts(reader.search(Query(text="exact words", k=1, audiences=("staff",)))) == ["exact or not"]


def test_source_uri_and_language_narrow_a_search(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write(
        [
            upsert("guide/a.md", "word one"),
            upsert("guide_b.md", "word two"),
            upsert("guide/a.md", "word three", source="wiki"),
            upsert("guide/de.md", "word four", language="de"),
        ]
    )
    assert found(reader, "word", source="wiki") == {"word three"}
    assert found(reader, "word", uri_prefix="guide/") == {"word one", "word three", "word four"}
    assert found(reader, "word", uri_prefix="guide_") == {"word two"}
    assert found(reader, "word", language="de") == {"word four"}
    assert found(reader, "word", source="docs", uri_prefix="guide/", language="en") == {"word one"}


@pytest.mark.parametrize(
    "odd", ["o'clock", "') OR ('a'='a", "a\\", "%", "_", '"', "`", "--", "\n", "ü😀", "{}", "$1", "'" * 5]
)
def test_odd_names_are_values_and_never_part_of_a_filter(writer: VectorWriter, reader: VectorReader, odd: str) -> None:
    writer.write([upsert(odd, "odd", source=odd, language=odd, audience=(odd,)), upsert("plain.md", "plain")])
    assert found(reader, "odd plain", audiences=(odd,)) == {"odd"}
    assert found(reader, "odd plain", source=odd, audiences=(odd, "public")) == {"odd"}
    assert found(reader, "odd plain", uri_prefix=odd, audiences=(odd, "public")) == {"odd"}
    assert found(reader, "odd plain", language=odd, audiences=(odd, "public")) == {"odd"}
    assert found(reader, "odd plain", audiences=("public",)) == {"plain"}
    assert texts(reader.chunks(odd, odd)) == ["odd"]
    assert [held.uri for held in reader.documents(odd)] == [odd]


def test_a_change_of_audience_alone_takes_effect_at_once(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "word one", "word two", event_time=10)])
    report = writer.write([upsert("a.md", "word one", "word two", position=2, audience=("staff",), vectors=False)])
    assert report == WriteReport()
    assert found(reader, "word") == set()
    assert found(reader, "word", audiences=("staff",)) == {"word one", "word two"}
    assert [item.since for item in reader.chunks("docs", "a.md")] == [10, 10]


# Writing


def test_an_edit_leaves_the_other_chunks_alone(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "one", "two", "three")])
    report = writer.write([upsert("a.md", "one", "2", "three", "four", position=2)])
    assert report == WriteReport(written=2, removed=1)
    assert texts(reader.chunks("docs", "a.md")) == ["one", "2", "three", "four"]
    assert found(reader, "two") == {"one", "2", "three", "four"}


def test_chunks_that_change_places_keep_their_identity(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "one", "two", "three")])
    assert writer.write([upsert("a.md", "three", "one", "two", position=2)]) == WriteReport()
    assert texts(reader.chunks("docs", "a.md")) == ["three", "one", "two"]


def test_a_text_is_as_old_as_the_update_says(writer: VectorWriter, reader: VectorReader) -> None:
    update = upsert("a.md", "one", "two", position=9, event_time=90)
    writer.write([msgspec.structs.replace(update, since=(30, 90))])
    assert [(item.since, item.as_of) for item in reader.chunks("docs", "a.md")] == [(30, 90), (90, 90)]


def test_a_newer_change_that_changes_nothing_moves_the_document_on(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "one", event_time=10)])
    assert writer.write([upsert("a.md", "one", position=2, event_time=20)]) == WriteReport()
    (item,) = reader.chunks("docs", "a.md")
    assert (item.position, item.as_of, item.since) == (2, 20, 10)


@pytest.mark.parametrize("position", [4, 5])
def test_an_update_that_is_not_newer_is_stale(writer: VectorWriter, reader: VectorReader, position: int) -> None:
    writer.write([upsert("a.md", "five", position=5)])
    assert writer.write([upsert("a.md", "other", position=position)]) == WriteReport(stale=1)
    assert texts(reader.chunks("docs", "a.md")) == ["five"]


def test_a_delete_takes_everything_and_an_older_update_does_not_bring_it_back(
    writer: VectorWriter, reader: VectorReader
) -> None:
    writer.write([upsert("a.md", "one", "two", position=5)])
    assert writer.write([delete("a.md", position=7)]) == WriteReport(removed=2)
    assert reader.chunks("docs", "a.md") == []
    assert found(reader, "one") == set()
    assert list(reader.documents()) == []
    assert writer.write([upsert("a.md", "one", position=6)]) == WriteReport(stale=1)
    assert writer.write([upsert("a.md", "one", position=8)]) == WriteReport(written=1)
    assert texts(reader.chunks("docs", "a.md")) == ["one"]
    assert found(reader, "one") == {"one"}


def test_a_delete_of_what_was_never_there_is_remembered(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([delete("a.md", position=7)])
    assert writer.write([upsert("a.md", "late", position=6)]) == WriteReport(stale=1)
    assert reader.chunks("docs", "a.md") == []


def test_later_updates_of_a_document_in_one_call_win(writer: VectorWriter, reader: VectorReader) -> None:
    first = upsert("a.md", "one", "two", position=1)
    second = upsert("a.md", "two", "three", position=2)
    # What the diff has sent with the first update it does not send again with the second.
    known = set(first.vectors)
    second = msgspec.structs.replace(
        second, vectors={name: vector for name, vector in second.vectors.items() if name not in known}
    )
    assert writer.write([first, second, upsert("a.md", "stale", position=1)]) == WriteReport(written=2, stale=1)
    assert texts(reader.chunks("docs", "a.md")) == ["two", "three"]
    assert found(reader, "one") == {"two", "three"}


def test_what_goes_and_comes_back_in_one_call_stays(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "one")])
    writer.write([delete("a.md", position=2), upsert("a.md", "one", "two", position=3)])
    assert texts(reader.chunks("docs", "a.md")) == ["one", "two"]


def test_the_same_batch_twice_changes_nothing(writer: VectorWriter, reader: VectorReader) -> None:
    batch = [upsert("a.md", "one"), upsert("b.md", "two"), delete("c.md"), upsert("a.md", "1", position=2)]
    writer.write(batch, [mark()])
    before = (list(reader.documents()), reader.chunks("docs", "a.md"), reader.applied())
    assert writer.write(batch, [mark()]) == WriteReport(stale=4)
    assert (list(reader.documents()), reader.chunks("docs", "a.md"), reader.applied()) == before


def test_a_rename_in_one_call_never_shows_both_or_neither(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("old.md", "one", "two")])
    writer.write(
        [upsert("new.md", "one", "two", position=2, moved="old.md"), delete("old.md", position=2, moved="new.md")]
    )
    assert [held.uri for held in reader.documents()] == ["new.md"]
    assert [item.uri for item in reader.search(Query(text="one", k=9))] == ["new.md"]


def test_chunks_without_vectors_are_embedded_by_the_store(
    place: Place, writer: VectorWriter, reader: VectorReader
) -> None:
    writer.write([upsert("a.md", "sent")])
    writer.write([upsert("a.md", "sent", "lost", position=2, heading=("H",), vectors=False)])
    assert place.embedded == ["H\n\nlost"]
    assert texts(reader.search(Query(vector=vector_of("H lost"), k=1))) == ["lost"]


def test_a_document_without_chunks_is_kept(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("empty.md")])
    assert [(held.uri, held.chunk_ids) for held in reader.documents()] == [("empty.md", ())]


@pytest.mark.parametrize(
    "vector",
    [
        b"",
        np.ones(DIMENSION - 1, dtype="<f4").tobytes(),
        np.ones(DIMENSION + 1, dtype="<f4").tobytes(),
        np.array([np.nan] * DIMENSION, dtype="<f4").tobytes(),
        np.array([np.inf] + [0.0] * (DIMENSION - 1), dtype="<f4").tobytes(),
    ],
)
def test_a_bad_vector_is_refused_by_name_and_nothing_is_written(
    writer: VectorWriter, reader: VectorReader, vector: bytes
) -> None:
    bad = upsert("bad.md", "text")
    bad = msgspec.structs.replace(bad, vectors=dict.fromkeys(bad.vectors, vector))
    with pytest.raises(RejectedError, match=r"docs/bad\.md"):
        writer.write([upsert("good.md", "fine"), bad])
    assert list(reader.documents()) == []


def test_text_that_is_not_unicode_is_refused_by_name(writer: VectorWriter, reader: VectorReader) -> None:
    with pytest.raises(RejectedError, match=r"bad\\udce4\.md"):
        writer.write([upsert("good.md", "fine"), upsert("bad\udce4.md", "fine")])
    assert list(reader.documents()) == []


# Marks


def test_marks_are_applied_with_the_data_in_one_commit(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "one")], [mark(7, partition="0"), mark(3, partition="a/b", caught_up=False)])
    assert reader.applied() == [
        Applied("docs", "0", 7, 90, 95, caught_up=True, applied_at=NOW),
        Applied("docs", "a/b", 3, 90, 95, caught_up=False, applied_at=NOW),
    ]


def test_the_newest_mark_of_a_partition_counts(place: Place, writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([], [mark(1), mark(2)])
    place.now = NOW + 9
    writer.write([], [mark(3)])
    assert [(applied.offset, applied.applied_at) for applied in reader.applied()] == [(3, NOW + 9)]


def test_an_equal_mark_makes_no_commit(place: Place, writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([], [mark(1)])
    place.now = NOW + 9
    writer.write([], [mark(1)])
    assert [applied.applied_at for applied in reader.applied()] == [NOW]


def test_marks_are_never_found_by_a_search(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a.md", "word", title="docs")], [mark(source="docs")])
    assert found(reader, "docs 0 mark word") == {"word"}


# One writer, one model


def test_a_second_writer_is_refused_until_the_first_lets_go(place: Place, writer: VectorWriter) -> None:
    with pytest.raises(StoreError, match="process"):
        place.writer()
    writer.close()
    writer.close()
    place.writer().write([upsert("a.md", "one")])


def test_the_store_is_the_same_after_it_is_opened_again(place: Place, writer: VectorWriter) -> None:
    writer.write([upsert("a.md", "one", position=5), delete("b.md", position=5)], [mark()])
    identity = writer.identity()
    writer.close()
    again = place.writer()
    assert again.identity() == identity
    assert again.write([upsert("a.md", "x", position=5), upsert("b.md", "x", position=5)], [mark()]) == WriteReport(
        stale=2
    )
    assert texts(place.reader().chunks("docs", "a.md")) == ["one"]


def test_two_stores_have_two_identities(place: Place, writer: VectorWriter) -> None:
    other = place.other()
    assert other.writer().identity() != writer.identity()
    other.close()


def test_a_store_of_another_model_is_refused_and_the_remedy_named(place: Place, writer: VectorWriter) -> None:
    writer.write([upsert("a.md", "one")])
    writer.close()
    with pytest.raises(StoreError, match=r"words@1.*other@1.*headrace reindex"):
        place.writer(OTHER_MODEL)
    with pytest.raises(StoreError, match=r"words@1.*other@1.*headrace reindex"):
        place.reader(OTHER_MODEL).search(Query(text="one"))
    with pytest.raises(StoreError, match=r"5 numbers.*headrace reindex"):
        place.reader().search(Query(vector=[1.0] * 5))
    place.writer()


# Cuts; beside a writer that never rests they are tested in tests/stores/test_cuts.py


def test_a_cut_answers_every_verb_from_the_commit_that_it_began_with(
    writer: VectorWriter, reader: VectorReader
) -> None:
    def answers(asked: VectorReader) -> list[object]:
        return [
            found(asked, "text"),
            asked.search(Query(text="text")),
            asked.chunks("docs", "a"),
            list(asked.documents()),
            asked.newest_position("docs"),
            asked.applied(),
        ]

    writer.write([upsert("a", "first text"), upsert("b", "another text")], [Mark("docs", "0", 1, 1, 1, caught_up=True)])
    before = answers(reader)
    with reader.cut() as cut:
        writer.write(
            [upsert("a", "second text", position=2), delete("b", position=2)],
            [Mark("docs", "0", 2, 2, 2, caught_up=True)],
        )
        assert answers(cut) == before
        after = answers(reader)
        assert [one for one, other in zip(before, after, strict=True) if one == other] == []
        with cut.cut() as same:
            assert answers(same) == before
    with reader.cut() as cut:
        assert answers(cut) == after


def test_a_cut_is_over_with_its_block(writer: VectorWriter, reader: VectorReader) -> None:
    writer.write([upsert("a", "text")])
    with reader.cut() as cut:
        assert texts(cut.chunks("docs", "a")) == ["text"]
    with pytest.raises(StoreError, match=r"has been closed.*begin another one"):
        cut.chunks("docs", "a")


def test_a_question_that_a_cut_refuses_leaves_it_as_it_was(place: Place, writer: VectorWriter) -> None:
    writer.write([upsert("a", "text")])
    with place.reader(MODEL).cut() as cut:
        with pytest.raises(StoreError, match="numbers"):
            cut.search(Query(vector=[1.0, 0.0]))
        assert texts(cut.search(Query(text="text"))) == ["text"]
    with place.reader(OTHER_MODEL).cut() as cut, pytest.raises(StoreError, match="headrace reindex"):
        cut.search(Query(text="text"))


def test_totals_are_those_of_the_documents_that_are_there(writer: VectorWriter, reader: VectorReader) -> None:
    assert reader.totals() == (0, 0)
    writer.write([upsert("a.md", "one", "two", "three"), upsert("b.md", "one"), upsert("c.md", "four", "five")])
    writer.write([upsert("a.md", "two", position=2), delete("c.md", position=3)], [mark()])
    assert reader.totals() == (2, 2)
    assert reader.totals() == (len(list(reader.documents())), sum(len(one.chunk_ids) for one in reader.documents()))
