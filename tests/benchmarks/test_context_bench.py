from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import context
from benchmarks.context_company import Company
from benchmarks.context_data import SCALES, Sizes, customers, documents, operations, questions
from benchmarks.context_feast import ours_in_process
from benchmarks.context_latency import Measured, contexts, embedding, look_ups, percentiles
from benchmarks.context_pairs import Seen, implausible
from benchmarks.context_readers import Readings
from benchmarks.context_report import report_latencies, report_ratios, report_readers
from benchmarks.context_server import Ask, Server, ask_all
from events.errors import HeadraceError
from stores.profiles.sqlite_reader import SqliteProfileReader
from stores.rows.sqlite_reader import SqliteRowReader
from stores.vectors.lance_reader import LanceReader

TINY = Sizes(numbers=5, hotels=2, persons=20, documents=4)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    """Make a company as small as can be, by its flows."""
    made = Company(tmp_path_factory.mktemp("company") / "home", TINY, "hashing")
    made.make()
    return made


def item(kind: str, id_: str, **more: Any) -> dict[str, Any]:
    as_of = "2026-11-01T10:00:00.000Z"
    return {"kind": kind, "id": id_, "as_of": as_of, "applied_at": as_of, "age_ms": 500, "lag_ms": 0, **more}


def row(table: str, number: int, edition: int) -> dict[str, Any]:
    changed = "2026-11-01T10:00:00.000Z"
    return item("row", f"{table}/{number}", data={"id": number, "edition": edition, "changed": changed})


def told(*items: dict[str, Any]) -> dict[str, Any]:
    return {"at": "2026-11-01T10:00:00.500Z", "items": list(items)}


AT = 1_793_527_200_500


def seen(*answers: dict[str, Any]) -> Seen:
    found = Seen()
    for answer in answers:
        found.context(answer, AT, AT)
    return found


def bookings(count: int, total: int, *prices: int) -> dict[str, Any]:
    text = f"name: Ines\nbookings: {count}, of which {count} open; price in all {total}; latest 2026-11-01 10:00 UTC"
    activities = (item("activity", f"b/{price}", data={"price": price}) for price in prices)
    return told(item("profile", "p", text=text), *activities)


def piece(number: int, edition: int) -> dict[str, Any]:
    return item("chunk", f"c{edition}", text=f"This is handbook {number} on refunds, part 1, edition {edition}. More.")


def test_full_scale_is_what_the_aims_are_set_for() -> None:
    full = SCALES["full"]
    assert (full.rows, full.persons, full.chunks) == (1_000_000, 100_000, 100_000)


def test_the_same_seed_gives_the_same_company() -> None:
    assert list(operations(TINY, 1)) == list(operations(TINY, 1))
    assert list(customers(TINY, 1)) != list(customers(TINY, 2))
    assert len(list(operations(TINY, 1))) == TINY.rows
    assert sum(len(update.document.chunks) for update in documents(TINY, 1)) == TINY.chunks
    assert len(set(questions(TINY, 40, 1))) == 40


def test_the_stores_hold_what_their_sizes_say_and_are_found_again(company: Company) -> None:
    rows = SqliteRowReader(company.data / "tables.sqlite3")
    assert sum(live for live, _, _ in rows.counts().values()) == TINY.rows
    rows.close()
    profiles = SqliteProfileReader(company.data / "profiles.sqlite3")
    assert profiles.totals()[1] == TINY.persons
    profiles.close()
    assert LanceReader(company.data / "vectors").totals() == (TINY.documents, TINY.chunks)
    assert company.is_made()
    assert not Company(company.home, SCALES["small"], "hashing").is_made()


def test_stores_of_another_size_are_not_written_over(company: Company) -> None:
    with pytest.raises(HeadraceError, match="something else"):
        Company(company.home, SCALES["small"], "hashing").make()


def test_every_kind_of_request_is_measured_over_http(company: Company) -> None:
    with Server(company.variables, company.data) as server:
        asker = server.asker()
        found = asker.read(Ask("POST", "/context", {"question": "Is flight CV 0003 on time?"}))
        asker.close()
        assert {item["kind"] for item in found["items"]} == {"row", "chunk"}
        measured = [*contexts(server, company, 8, 1), *look_ups(server, company, 8, 1)]
        with pytest.raises(HeadraceError, match="404"):
            ask_all(server.port, server.key, [Ask("GET", "/contexts/nobody")], 1)
    assert {one.name for one in measured} == {
        "/context of a person, new questions",
        "/context of a person",
        "/context of nobody",
        "/profiles/me",
        "/tables/NAME by key",
    }
    assert all(one.millis.count == 8 and 0 < one.millis.p50 <= one.millis.longest for one in measured)
    # What the server takes for a request, whoever asks waits for.
    assert all(one.server is not None and 0 < one.server <= one.millis.longest for one in measured)
    assert all(one.processor is not None and one.processor >= 0 for one in measured)
    assert ours_in_process(company, 5, 1).millis.count == 5
    assert embedding(company, "hashing", 5, 1).backend == "hashing"


def test_rows_of_two_editions_are_torn_and_those_of_one_are_not() -> None:
    right = seen(told(row("flights", 3, 8), row("fares", 3, 8), row("flights", 4, 7)))
    assert (right.torn, right.compared["rows"]) == ([], 1)
    assert len(seen(told(row("flights", 3, 8), row("fares", 3, 7))).torn) == 1


def test_an_older_edition_after_a_newer_one_is_torn() -> None:
    assert len(seen(told(row("flights", 3, 8)), told(row("flights", 3, 7))).torn) == 1
    assert len(seen(told(piece(3, 8)), told(piece(3, 7))).torn) == 1
    assert seen(told(row("flights", 3, 7)), told(row("flights", 3, 8)), told(row("flights", 4, 1))).torn == []


def test_bookings_that_do_not_add_up_are_torn() -> None:
    assert seen(bookings(2, 30, 10, 20)).torn == []
    assert len(seen(bookings(2, 31, 10, 20)).torn) == 1
    # Which of them do not fit into the budget is nobody's fault.
    assert seen(bookings(3, 60, 10, 20)).compared["profiles"] == 0


def test_pieces_of_two_editions_of_a_document_are_torn() -> None:
    assert seen(told(piece(3, 8), piece(3, 8), piece(5, 2))).torn == []
    assert len(seen(told(piece(3, 8), piece(3, 9))).torn) == 1


def test_a_profile_must_add_up_too() -> None:
    found = Seen()
    of = {"open_count": 2, "sums": {"price": "30"}, "open": [{"row": {"price": 10}}, {"row": {"price": 20}}]}
    found.profile({"collections": {"bookings": of}})
    assert found.torn == []
    found.profile({"collections": {"bookings": {**of, "sums": {"price": "40"}}}})
    assert len(found.torn) == 1


def test_times_that_cannot_be_true_are_told() -> None:
    assert list(implausible(told(item("chunk", "c")), AT - 10, AT + 10)) == []
    assert len(list(implausible(told(), AT + 10, AT + 20))) == 1
    for wrong in ({"age_ms": 400}, {"applied_at": "2026-11-01T10:00:01.000Z"}, {"lag_ms": -1}):
        assert len(list(implausible(told({**item("chunk", "c"), **wrong}), AT, AT))) == 1


def test_growth_counts_from_the_end_of_the_first_third() -> None:
    memory = [10] * 10 + [100] * 10 + [110] * 10
    readings = Readings([1], {"/context": [2.0]}, 0, [], [], [], {"rows": 1}, memory, 5)
    assert readings.growth == pytest.approx(0.1)
    out = io.StringIO()
    report_readers(Console(file=out, width=140), readings, 3.0)
    assert "+10.0%" in out.getvalue()


def test_a_missed_aim_is_said_to_be_and_ratios_are_of_the_same_number_of_askers() -> None:
    found = [
        Measured("/context of nobody", 1, percentiles([20.0, 40.0, 200.0])),
        Measured("/profiles/me", 1, percentiles([2.0])),
        Measured("Feast's feature server", 1, percentiles([5.0])),
        Measured("Feast's feature server", 8, percentiles([50.0])),
    ]
    out = io.StringIO()
    console = Console(file=out, width=200)
    report_latencies(console, found)
    report_ratios(console, found)
    assert "30 and 100: missed" in out.getvalue()
    assert "p99 10: missed" not in out.getvalue()
    assert "2.50" in out.getvalue()
    assert out.getvalue().count("times as long") == 1


def test_the_scale_decides_what_is_not_given(tmp_path: Path) -> None:
    usual, small = context.parse([]), context.parse(["--scale", "small", "--seconds", "3", "--data", str(tmp_path)])
    assert small.requests < usual.requests
    assert (usual.readers, usual.seconds, small.seconds, small.data) == (200, 60.0, 3.0, tmp_path)
