"""A small company to be asked over HTTP: persons, live tables, documents for everybody and for the staff, and keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from events.changes import Change, Kind, Row, Sighting
from events.clock import Clock
from events.log import LogRecord, Mark
from serving.access.caller import SCOPES
from serving.access.keys import Keys
from serving.access.tokens import Tokens
from serving.http.app import build_app
from serving.service import Service
from stores.embedders.hashing import HashingEmbedder
from stores.log.files import FileLog
from stores.rows.choose import open_row_writer
from stores.rows.intake import RowIntake
from stores.settings import Settings, load
from stores.vectors.lance_writer import LanceWriter
from tests.serving import persons_sample as sample
from tests.serving.persons_sample import ANNA, NOW
from tests.stores.vector_samples import upsert

BASE = "http://127.0.0.1"
BERT = sample.MEMBERS[3].person
FLIGHTS: list[Row] = [
    {"id": 1, "number": "CV 214", "status": "delayed", "seats": 12},
    {"id": 2, "number": "CV 305", "status": "on time", "seats": 40},
]
CREW: list[Row] = [{"id": 1, "name": "Ola", "salary": 4000}]
STAYS: list[Row] = [{"id": 1, "user": 7, "place": "Lisbon"}, {"id": 2, "user": 8, "place": "Porto"}]
_KINDS: dict[type, Kind] = {int: "int", str: "text"}


class World:
    """The company in a data folder, with its service and one key for each purpose.

    :arg name: Of the key.
    :arg serving: Settings of the read side, beside those that it needs.
    """

    def __init__(self, path: Path, name: str = "everything", clock: Clock = lambda: NOW, **serving: Any) -> None:
        self.clock = clock
        self.settings = settings_of(path, **serving)
        self.tokens = Tokens(self.settings, clock)
        self.keys = Keys(self.settings.keys_path, clock=clock)
        self.service = Service.of(self.settings, self.tokens, clock)
        self.key = self.keys.create(name, SCOPES, ["public", "staff"])
        self.anna = self.tokens.sign(ANNA, "default", ["public"], None).token
        self.bert = self.tokens.sign(BERT, "default", ["public"], None).token

    def app(self, **changes: Any) -> FastAPI:
        """Return the application."""
        return build_app(self.settings, self.service, self.keys, self.tokens, self.clock, **changes)

    def headers(self, person: str = "", key: str = "") -> dict[str, str]:
        """Return the headers of a request with a key, and for a person."""
        found = {"Authorization": f"Bearer {key or self.key}"}
        return found | ({"Headrace-Person": person} if person else {})

    def client(self, app: FastAPI, person: str = "", *, key: str = "", base: str = BASE) -> httpx.AsyncClient:
        """Return a client of the application that asks with a key."""
        transport = httpx.ASGITransport(app=app)
        return httpx.AsyncClient(transport=transport, base_url=base, headers=self.headers(person, key))


def clock() -> int:
    return NOW


def settings_of(path: Path, **serving: Any) -> Settings:
    """Return the company's settings."""
    profiles = sample.configured(path).profiles.model_dump()
    profiles["tables"] = [table for table in sample.TABLES if table["name"] != "agents"]
    served: list[dict[str, Any]] = [
        {"name": "crew", "audience": ["staff"], "hidden": ["salary"]},
        {"name": "stays", "owner": {"column": "user", "record": "users"}},
    ]
    entities = [{"name": "flight", "pattern": "CV ?[0-9]{3}"}]
    lookups = [{"table": "flights", "where": {"number": "flight"}, "text": "Flight {number} is {status}"}]
    return load(
        data_dir=path,
        embedding={"backend": "hashing"},
        profiles=profiles,
        tables={
            "streams": [{"name": "ops"}],
            "live": [{"name": name, "table": name} for name in ("flights", "crew", "stays")],
        },
        feedback={"streams": [{"name": "feedback", "format": "headrace"}]},
        serving={"tables": served, "entities": entities, "lookups": lookups, **serving},
    )


def fill(settings: Settings) -> None:
    """Write what the company knows."""
    sample.fill(settings, [member for member in sample.MEMBERS if member.realm == "default"])
    log = FileLog(settings.log_dir)
    log.append("ops", [LogRecord("ops", 0, 0, NOW - 1000, b"1", b"{}")])
    intake = RowIntake(open_row_writer(settings, clock), settings.tables, clock, lambda hold: None)
    for table, rows in (("flights", FLIGHTS), ("crew", CREW), ("stays", STAYS)):
        _write_rows(intake, table, rows)
    intake.close()
    embedder = HashingEmbedder()

    def embed(texts: Sequence[str]) -> list[bytes]:
        return [vector.tobytes() for vector in embedder.embed(texts)]

    with LanceWriter(settings.vectors_dir, embedder.model, embed=embed, clock=clock) as writer:
        documents = [
            upsert("bicycles.md", "A bicycle may be brought on board for 40 euros.", event_time=NOW, vectors=False),
            upsert("salaries.md", "The staff is paid on the tenth.", audience=("staff",), vectors=False),
        ]
        writer.write(documents, [Mark("docs", "0", 1, NOW, NOW, caught_up=True)])


def _write_rows(intake: RowIntake, table: str, rows: Sequence[Row]) -> None:
    at = NOW - 5000
    columns = {(name, _KINDS[type(value)]): (at, at) for name, value in rows[0].items()}
    changes = [
        Change("db", table, f'{{"id":{row["id"]}}}', "create", None, row, at, (0, 7 + number), stream="ops")
        for number, row in enumerate(rows)
    ]
    intake.write([Sighting("db", table, columns, at, at), *changes])
