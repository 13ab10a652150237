"""Erasing a person: all that is hers goes from everywhere, nothing else does, and a crash in between is no harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dataflows import profiles as profiles_flow
from dataflows import tables as tables_flow
from events.dead_letters import DeadLetter
from events.erasure import ERASED
from events.errors import HeadraceError
from events.log import LogRecord
from events.profiles import Profile
from serving.forgetting import Forgetting
from serving.runs import runs
from serving.trails import Trail, every
from stores.dead_letters import DeadLetters
from stores.erasures import LOOK_SECONDS, Erasures, Receipt, Removed
from stores.log.files import FileLog
from stores.profiles.choose import open_profile_reader
from stores.rows.base import RowQuery
from stores.rows.choose import open_row_reader
from stores.settings import Settings, load

NOON = 1_793_534_400_000
LATER = NOON + 1_000_000
FLOWS = {"profiles": profiles_flow.build, "tables": tables_flow.build}

ANNA_CRM, ANNA_SHOP, ANNA_OLD = 'crm/customers/{"id":1}', 'shop/users/{"id":"u1"}', 'shop/users/{"id":"u0"}'
BEN = 'crm/customers/{"id":2}'
HERS = (
    "Anna Maria Silva",
    "anna.silva@example.org",
    "Anna.Silva@Example.org",
    "anna@old.example",
    "HR900100",
    "1 Quay",
)
"""What names Anna, and nobody else has, in any of her rows."""


def change(stream: str, table: str, id_: Any, position: int, **columns: Any) -> LogRecord:
    """Return an event of a row; without columns it is a delete."""
    said: dict[str, Any] = {"table": table, "key": {"id": id_}, "op": "update", "position": position, "source": stream}
    said = {**said, "after": {"id": id_, **columns}} if columns else {**said, "op": "delete"}
    key = json.dumps({"id": id_}).encode()
    return LogRecord(stream, 0, 0, NOON + position, key, json.dumps(said).encode())


EVENTS = {
    "crm": [
        change("crm", "customers", 1, 1, name="Anna Maria Silva", mail="anna@old.example", phone="+351 213 000 111"),
        # An address of Anna's was once typed into Ben's row.
        change("crm", "customers", 2, 2, name="Ben", mail="anna@old.example", phone="+351 213 000 111"),
        change("crm", "customers", 2, 3, name="Ben", mail="ben@example.org", phone="+351 213 000 111", town="Porto"),
        change("crm", "customers", 1, 4, name="Anna Maria Silva", mail="Anna.Silva@Example.org", card="HR900100",
               phone="+351 213 000 111", town="Porto"),
        change("crm", "customers", 3, 5, name="Jo", mail="joanna.silva@example.org", note="met Anna in Porto"),
    ],
    "shop": [
        # An account that she closed long ago: of nobody by now, but it was hers.
        change("shop", "users", "u0", 1, name="Anna Maria Silva", mail="anna.silva@example.org", street="1 Quay"),
        change("shop", "users", "u0", 2),
        change("shop", "users", "u1", 3, name="A. Silva", card="HR900100"),
        change("shop", "orders", 50, 4, user="u1", item="Two seats to Faro"),
        change("shop", "orders", 51, 5, user="u1", item="One seat to Faro"),
        change("shop", "orders", 51, 6),
        change("shop", "orders", 52, 7, user="u9", item="Two seats to Faro"),
    ],
    "alerts": [LogRecord("", 0, 0, NOON, None, b'{"text":"look at anna.silva@example.org"}')],
    "documents": [LogRecord("", 0, 0, NOON, b"a.md", b'{"uri":"a.md","content":"Ask anna.silva@example.org"}')],
    "notes": [LogRecord("", 0, 0, NOON, None, b"nothing of anybody")],
}  # fmt: skip

TYPES = [
    {"type": "card", "parts": ["code"]},
    {"type": "email", "parts": ["email"]},
    {"type": "phone", "parts": ["phone"], "limit": 1},
]
CUSTOMERS = {
    "name": "customers",
    "table": "customers",
    "identifiers": {"card": ["card"], "email": ["mail"], "phone": ["phone"]},
}
USERS = {"name": "users", "table": "users", "identifiers": {"card": ["card"], "email": ["mail"]}}
ORDERS = {"name": "orders", "table": "orders", "references": "users", "by": {"user": "id"}}


class House:
    """A data folder with its log, and flows that are run to the end of it, with their recovery folders.

    :arg more: Further sections of the settings.
    """

    flows: Mapping[str, Callable[[Settings], Dataflow]] = FLOWS

    def __init__(self, path: Path, fields: Sequence[dict[str, Any]] = (), **more: Any) -> None:
        self.path = path
        streams = [{"name": name, "format": "headrace"} for name in ("crm", "shop")]
        self.settings: Settings = load(
            data_dir=path,
            mode="replay",
            log={"partitions": 2},
            profiles={"streams": streams, "tables": [CUSTOMERS, USERS, ORDERS], "identifiers": TYPES, "fields": fields},
            tables={"streams": streams[1:], "live": [{"name": "orders", "table": "orders"}], "others": "ignore"},
            **more,
        )
        self.log = FileLog(self.settings.log_dir, partitions=2)
        self.letters = DeadLetters(self.settings.dead_letters_path, lambda: NOON)
        self.runs: list[str] = []

    def append(self, events: dict[str, list[LogRecord]] = EVENTS) -> None:
        for stream, records in events.items():
            self.log.append(stream, records)

    def run(self, flow: str) -> None:
        self.runs.append(flow)
        recovery = self.path / "recovery" / flow
        if not recovery.exists():
            recovery.mkdir(parents=True)
            init_db_dir(recovery, 2)
        run_main(self.flows[flow](self.settings), recovery_config=RecoveryConfig(str(recovery)))

    def forgetting(self, progress: Callable[[str], object] = lambda text: None) -> Forgetting:
        return Forgetting(
            self.settings,
            run_flow=self.run,
            progress=progress,
            clock=lambda: LATER,
            new_id=lambda: "e1",
            sleep=lambda seconds: None,
        )

    def persons(self) -> dict[str, Profile]:
        """Return the profiles, each by the key of its earliest record."""
        return {profile.records[0]: profile for profile in open_profile_reader(self.settings).persons("", 100)}

    def person(self) -> str:
        return self.persons()[ANNA_CRM].person

    def follow(self) -> Trail:
        return self.forgetting().follow(self.person(), "default")

    def forget(self) -> Receipt:
        forgetting = self.forgetting()
        return forgetting.finish(forgetting.begin(forgetting.follow(self.person(), "default")), 20)

    def everything(self) -> bytes:
        """Return the bytes of all files."""
        return b"".join(path.read_bytes() for path in self.path.rglob("*") if path.is_file())

    def segments(self) -> list[Path]:
        return sorted(self.settings.log_dir.rglob("*.jsonl"))

    def values(self, stream: str) -> list[Any]:
        left = [record.value for record in every(self.log, stream) if ERASED not in record.headers]
        return [json.loads(value) if value and value.startswith(b"{") else value for value in left]


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path / "data")
    house.append()
    for flow in FLOWS:
        house.run(flow)
    bad = LogRecord("shop", 0, 7, NOON, b"x", b'{"broken mail":"anna.silva@example.org"')
    other = LogRecord("shop", 0, 8, NOON, b"y", b'{"broken mail":"ben@example.org"')
    house.letters.write([DeadLetter("profiles", "decode", "broken", one) for one in (bad, other)])
    house.letters.mark_replayed(house.letters.list())
    house.runs.clear()
    return house


def test_her_trail_leads_to_what_the_store_no_longer_knows(house: House) -> None:
    trail = house.follow()
    assert trail.members == {ANNA_CRM, ANNA_SHOP, ANNA_OLD}
    assert trail.activities == {'shop/orders/{"id":50}', 'shop/orders/{"id":51}'}
    assert trail.identifiers == {"card:HR900100", "email:anna.silva@example.org", "email:anna@old.example"}
    assert {"Anna.Silva@Example.org", "anna@old.example", "HR900100", ANNA_OLD} <= trail.telling
    assert {"Anna Maria Silva", "+351 213 000 111", "Porto", "1 Quay"} <= trail.values


def test_nothing_of_her_is_left_in_any_byte_and_others_are_as_they_were(house: House) -> None:
    before = house.persons()
    assert all(text.encode() in house.everything() for text in HERS)

    receipt = house.forget()

    left = house.everything()
    for text in (*HERS, ANNA_CRM, ANNA_OLD, before[ANNA_CRM].person):
        # Another one's address ends as hers does.
        assert left.replace(b"joanna.silva@example.org", b"").count(text.encode()) == 0, text
    assert receipt.clean
    assert house.persons().keys() == before.keys() - {ANNA_CRM}
    assert house.persons()[BEN].fields == before[BEN].fields
    orders = open_row_reader(house.settings).select(RowQuery(table="orders"))
    assert [row.key for row in orders] == ['{"id":52}']
    assert [kept.letter.record.key for kept in house.letters.list(replayed=True)] == [b"y"]


def test_the_log_keeps_what_is_of_others_without_her_name(house: House) -> None:
    house.forget()
    crm = {(one["key"]["id"], one["position"]): one["after"] for one in house.values("crm")}
    assert crm.keys() == {(2, 2), (2, 3), (3, 5)}
    assert crm[2, 2]["mail"] == "*" * len("anna@old.example")
    assert crm[3, 5]["mail"] == "joanna.silva@example.org"
    assert [one["key"]["id"] for one in house.values("shop")] == [52]
    assert house.values("alerts") == []
    assert house.values("documents") == [{"uri": "a.md", "content": f"Ask {'*' * 22}"}]
    assert house.values("notes") == [b"nothing of anybody"]
    assert house.values("control.profiles") == house.values("control.tables") == []


def test_the_receipt_counts_what_was_removed_and_names_nobody(house: House) -> None:
    receipt = house.forget()
    counts = {(one.place, one.what): one.count for one in receipt.removed}
    assert counts["log/crm", "events"] == 2
    assert counts["log/crm", "names in events"] == 1
    assert counts["log/shop", "events"] == 6
    assert counts["log/documents", "names in events"] == 1
    assert counts["log/alerts", "events"] == 1
    assert counts["live tables", "rows"] == 2  # the cancelled order was still remembered
    assert counts["dead letters", "letters"] == 1
    # Of her two records, two orders, and the account that is remembered as deleted.
    assert counts["profile store", "rows"] == 5
    assert receipt.shared >= 2  # at least the phone and the town
    assert any(one.path.endswith("profiles.sqlite3") for one in receipt.stood)
    assert any("recovery" in one.path for one in receipt.stood)
    written = msgspec.json.encode(receipt)
    assert not any(text.encode() in written for text in (*HERS, ANNA_CRM, "Porto"))
    kept = house.forgetting().erasures
    assert kept.receipts() == (receipt,)
    assert kept.pending() == ()


def test_a_replay_of_everything_does_not_bring_her_back(house: House) -> None:
    house.forget()
    after = house.persons()
    house.append()
    for flow in FLOWS:
        house.run(flow)
    assert house.persons().keys() == after.keys()
    orders = open_row_reader(house.settings).select(RowQuery(table="orders"))
    assert [row.key for row in orders] == ['{"id":52}']


def test_a_log_read_anew_after_the_erasure_brings_everybody_else_back(house: House) -> None:
    house.forget()
    after = house.persons()
    again = House(house.path.with_name("again"))
    again.path.mkdir()
    house.settings.log_dir.rename(again.settings.log_dir)
    again.run("profiles")
    assert {record: one.fields.keys() for record, one in again.persons().items()} == {
        record: one.fields.keys() for record, one in after.items()
    }


def test_a_preview_counts_and_changes_nothing(house: House) -> None:
    logged_before, before = [path.read_bytes() for path in house.segments()], house.persons()
    preview = house.forgetting().preview(house.follow())
    assert [path.read_bytes() for path in house.segments()] == logged_before
    assert house.persons() == before
    assert not house.settings.erasures_path.exists()
    assert Removed("log/crm", "events", 2) in preview
    assert Removed("dead letters", "letters", 1) in preview
    receipt = house.forget()
    assert next(one for one in preview if one.place == "profile store") in receipt.removed
    logged = {one for one in receipt.removed if one.place.startswith("log/") and "control" not in one.place}
    assert logged == {one for one in preview if one.place.startswith("log/")}


@pytest.mark.parametrize("again", [False, True])
def test_flows_are_told_only_when_every_worker_has_looked_at_who_is_erased(house: House, again: bool) -> None:
    seen: list[tuple[float, bool, list[int]]] = []

    def sleep(seconds: float) -> None:
        erased = Erasures(house.settings.erasures_path).fingerprints().has_record(ANNA_CRM)
        seen.append((seconds, erased, house.log.partitions("control.profiles")))

    first = Forgetting(house.settings, run_flow=house.run, clock=lambda: LATER, sleep=sleep)
    pending = first.begin(house.follow())
    finishing = Forgetting(house.settings, run_flow=house.run, clock=lambda: LATER, sleep=sleep) if again else first
    assert finishing.finish(pending, 20).clean
    (seconds, erased, told), *_ = seen
    assert seconds >= 2 * LOOK_SECONDS
    assert erased
    assert told == []


def test_receipts_and_previews_count_one_thing_as_one(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    from serving.commands.forget import _show, _text

    receipt = msgspec.structs.replace(
        house.forget(),
        removed=(Removed("live tables", "rows", 1), Removed("log/crm", "names in events", 1)),
        values=3,
        shared=1,
        compacted=1,
        scanned_files=1,
        scanned_bytes=1_200_000,
    )
    lines = _text(receipt).splitlines()
    assert [line.split()[-2:] for line in lines[2:4]] == [["1", "row"], ["an", "event"]]
    assert "1 database was written anew." in lines
    searched = "1 file was searched (1.2 MB) for 3 values; 1 of them others have too, which does not count"
    assert f"{searched}: none was found." in lines
    _show([Removed("log/shop", "events", 1), Removed("log/shop", "events", 2)], as_json=False)
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["removed:", "event", "events"]


@pytest.mark.parametrize("cut", range(11))
def test_an_erasure_cut_short_anywhere_is_brought_to_its_end(house: House, cut: int) -> None:
    told: list[str] = []

    def stop(text: str) -> None:
        told.append(text)
        if len(told) > cut:
            raise KeyboardInterrupt

    cut_short = house.forgetting()
    pending = cut_short.begin(house.follow())
    with pytest.raises(KeyboardInterrupt):
        house.forgetting(stop).finish(pending, 20)
    again = house.forgetting()
    assert again.erasures.pending() == (pending,)
    receipt = again.finish(pending, 20)
    assert receipt.clean
    assert again.erasures.pending() == ()
    assert ANNA_CRM not in house.persons()
    left = house.everything().replace(b"joanna.silva@example.org", b"")
    assert not any(text.encode() in left for text in HERS)


def test_one_begun_again_is_the_same_erasure(house: House) -> None:
    forgetting = house.forgetting()
    first = forgetting.begin(house.follow())
    second = forgetting.begin(house.follow())
    assert (first.erasure.id, first.erasure.records) == (second.erasure.id, second.erasure.records)
    assert forgetting.erasures.pending() == (second,)


def test_flows_that_stand_still_are_run_and_those_that_never_ran_are_not(tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    house.append()
    house.run("profiles")
    house.runs.clear()
    assert house.forget().clean
    assert set(house.runs) == {"profiles"}
    assert house.log.partitions("control.tables") == []


def test_a_flow_that_does_not_let_go_is_an_error_and_the_erasure_waits(house: House) -> None:
    forgetting = Forgetting(house.settings, run_flow=lambda flow: None)
    pending = forgetting.begin(house.follow())
    with pytest.raises(HeadraceError, match="'profiles' stopped before it had let go"):
        forgetting.finish(pending, 5)
    assert forgetting.erasures.pending() == (pending,)
    assert 1 in {one["key"]["id"] for one in house.values("crm")}


def test_values_that_stay_where_no_flow_reaches_are_told(house: House) -> None:
    (house.path / "export.csv").write_text("name,mail\nAnna Maria Silva,anna.silva@example.org\n")
    receipt = house.forget()
    assert not receipt.clean
    assert [(one.path, one.count) for one in receipt.found] == [("data/export.csv", 2)]
    assert house.forgetting().erasures.pending() == ()


def test_a_name_that_another_ones_profile_joins_of_two_columns_is_no_find(tmp_path: Path) -> None:
    house = House(tmp_path / "data", fields=[{"name": "name", "columns": {"customers": "name", "users": "first+last"}}])
    other = change("shop", "users", "u7", 9, first="Anna Maria", last="Silva", mail="another@example.org")
    house.append({**EVENTS, "shop": [*EVENTS["shop"], other]})
    house.run("profiles")
    receipt = house.forget()
    assert receipt.found == ()
    assert receipt.clean
    left = house.persons()['shop/users/{"id":"u7"}']
    assert left.fields["name"].value == "Anna Maria Silva"


def test_a_flow_runs_while_its_lock_is_held(tmp_path: Path) -> None:
    from serving.cluster.prepare import only_run

    assert not runs("profiles", tmp_path)
    with only_run("profiles", tmp_path):
        assert runs("profiles", tmp_path)
    assert not runs("profiles", tmp_path)
