"""A company whose every fact is for somebody: one word each, that stands nowhere else, and who may read it.

Two persons with bookings, rows and conversations of their own; pages and live tables for everybody, for the staff and
for partners; columns that nobody is served. The stores are made by the real flows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from bytewax.testing import run_main

from dataflows import feedback, knowledge, lake, profiles, tables
from events.clock import system_clock
from events.log import LogRecord
from serving.access.caller import SCOPES, Scope
from serving.access.keys import Keys
from serving.access.tokens import Tokens
from serving.forgetting import Forgetting
from serving.lookups import anything
from serving.profiles import Profiles
from stores.erasures import Receipt
from stores.log.choose import open_log
from stores.profiles.choose import open_profile_reader
from stores.settings import Settings, load

FLOWS: dict[str, Callable[[Settings], Any]] = {
    "profiles": profiles.build, "tables": tables.build, "knowledge": knowledge.build, "lake": lake.build,
    "feedback": feedback.build,
}  # fmt: skip
SETTINGS = """
data_dir = "FOLDER/data"
embedding = { backend = "hashing" }

[[knowledge.folders]]
name = "pages"
path = "FOLDER/pages"
audiences = { "staff/*" = ["staff"], "partners/*" = ["partners"] }

[[profiles.streams]]
name = "people"
format = "headrace"

[[profiles.tables]]
name = "users"
table = "users"
source = "shop"
identifiers = { email = ["mail"], loyalty = ["card"] }

[[profiles.tables]]
name = "bookings"
table = "bookings"
source = "shop"
references = "users"
by = { user = "id" }
open = { status = ["booked"] }

[[profiles.identifiers]]
type = "loyalty"
parts = ["code"]

[[profiles.identifiers]]
type = "email"
parts = ["email"]

[[profiles.fields]]
name = "name"
columns = { users = "name" }

[[tables.streams]]
name = "ops"
format = "headrace"

[[tables.live]]
name = "flights"
table = "flights"
initiator = "pilot"

[[tables.live]]
name = "crew"
table = "crew"

[[tables.live]]
name = "deals"
table = "deals"

[[tables.live]]
name = "stays"
table = "stays"
source = "hotel"

[[tables.live]]
name = "vouchers"
table = "vouchers"

[feedback]
windows = ["1d"]
sentiment = { backend = "none" }

[[feedback.streams]]
name = "chat"
format = "headrace"

[[feedback.kpis]]
name = "by_person"
facts = "questions"
by = [["person"]]

[serving]
requests_per_minute = 1000000
application = "here"

[serving.context]
budget_tokens = 20000
chunks = 100
turns = 100

[[serving.tables]]
name = "flights"
hidden = ["cost_price", "pilot"]

[[serving.tables]]
name = "crew"
audience = ["staff"]
hidden = ["salary"]

[[serving.tables]]
name = "deals"
audience = ["partners"]

[[serving.tables]]
name = "stays"
owner = { column = "guest", record = "users" }

[[serving.tables]]
name = "vouchers"
owner = { column = "card", identifier = "loyalty" }

[[serving.entities]]
name = "flight"
pattern = "CV ?[0-9]{3}"

[[serving.entities]]
name = "deal"
pattern = "D-[0-9]"

[[serving.entities]]
name = "badge"
pattern = "C-[0-9]"

[[serving.entities]]
name = "code"
pattern = "V-[0-9]{3}"

[[serving.entities]]
name = "place"
table = "stays"
column = "place"

[[serving.lookups]]
table = "flights"
where = { number = "flight" }

[[serving.lookups]]
table = "deals"
where = { code = "deal" }

[[serving.lookups]]
table = "crew"
where = { badge = "badge" }

[[serving.lookups]]
table = "vouchers"
where = { code = "code" }

[[serving.lookups]]
table = "stays"
where = { place = "place" }
"""


class Fact(NamedTuple):
    """One word that stands in one place, and nowhere by chance, and who may read it.

    :arg person: Whose it is; empty: it is nobody's.
    :arg hidden: Nobody is ever served it.
    """

    text: str
    audience: str = "public"
    person: str = ""
    hidden: bool = False


PUBLIC = frozenset({"public"})
STAFF = frozenset({"public", "staff"})
PARTNERS = frozenset({"public", "partners"})
KEYS = {"app": PUBLIC, "desk": STAFF, "agency": PARTNERS}
"""Keys that may do everything, and their labels."""

FACTS = {
    "page": Fact("walrus"),
    "staff page": Fact("narwhal", "staff"),
    "partners page": Fact("dugong", "partners"),
    "flight": Fact("otterdam"),
    "cost": Fact("480031700091", hidden=True),
    "column of costs": Fact("cost_price", hidden=True),
    "pilot": Fact("heronimus", hidden=True),
    "crew": Fact("oladele", "staff"),
    "crew's column": Fact("called_name", "staff"),
    "salary": Fact("720039100042", hidden=True),
    "deal": Fact("kingfisher", "partners"),
    "deals' column": Fact("rebate_for", "partners"),
    "poison": Fact("belladonna", hidden=True),
    **{
        f"{person}'s {what}": Fact(text, person=person)
        for person, texts in {
            "anna": ("annarosa", "a.rosa@post.example", "zanzibar", "anemone", "sauna", "wombat", "lemming"),
            "bert": ("bertolt", "b.olt@post.example", "helsinki", "bergamot", "billiard", "badger", "turbot"),
        }.items()
        for what, text in zip(("name", "mail", "trip", "room", "voucher", "words", "words in the log"), texts,
                              strict=True)
    },
}  # fmt: skip
CARDS = {"anna": "HR-100-200", "bert": "HR-300-400"}
NUMBERS = {"anna": 7, "bert": 8}


def text_of(name: str) -> str:
    """Return a fact's word."""
    return FACTS[name].text


def facts_in(text: str) -> frozenset[str]:
    """Return the names of the facts that stand in a text."""
    lower = text.lower()
    return frozenset(name for name, fact in FACTS.items() if fact.text in lower)


class Company:
    """The company in a folder: its log, its stores, its keys and persons' tokens.

    :arg path: The folder, which has the settings' file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "pages").mkdir()
        (path / "headrace.toml").write_text(SETTINGS.replace("FOLDER", str(path)))
        self.settings = self._loaded("live")
        self.log = open_log(self.settings)
        self.tokens = Tokens(self.settings, system_clock)
        self.keys = Keys(self.settings.keys_path)
        self.secrets = {name: self.keys.create(name, SCOPES, labels) for name, labels in KEYS.items()}
        self._position = 0

    def key(self, name: str, scopes: Iterable[Scope], audiences: Iterable[str] = (), **more: Any) -> str:
        """Make a key; return it."""
        self.secrets[name] = self.keys.create(name, scopes, audiences, **more)
        return self.secrets[name]

    def person(self, name: str) -> str:
        """Return a person's id."""
        reader = open_profile_reader(self.settings)
        try:
            found = Profiles(self.settings, reader, self.log, system_clock)
            return found.find(anything(text_of(f"{name}'s mail"), self.settings.profiles, "")).profile.person
        finally:
            reader.close()

    def token(self, name: str, labels: Iterable[str] = ()) -> str:
        """Return a token for a person."""
        return self.tokens.sign(self.person(name), "default", labels).token

    def write(self, path: str, text: str) -> None:
        """Write a page."""
        whole = self.path / "pages" / path
        whole.parent.mkdir(exist_ok=True)
        whole.write_text(text)

    def change(self, stream: str, table: str, source: str, *rows: dict[str, Any], op: str = "create") -> None:
        """Append changes of rows to the log."""
        events = []
        for row in rows:
            self._position += 1
            key, at = {"id": row["id"]}, {"position": self._position, "time": system_clock()}
            after = {} if op == "delete" else {"after": row}
            events.append({"table": table, "source": source, "op": op, "key": key, **after, **at})
        self.append(stream, *map(json.dumps, events))

    def append(self, stream: str, *texts: str) -> None:
        """Append events to the log."""
        now = system_clock()
        self.log.append(stream, [LogRecord(stream, 0, 0, now, b"k", text.encode()) for text in texts])

    def run(self, *flows: str) -> None:
        """Run flows to the end of the log."""
        settings = self._loaded("replay")
        for flow in flows:
            run_main(FLOWS[flow](settings))

    def forget(self, name: str) -> Receipt:
        """Erase a person."""
        forgetting = Forgetting(self.settings, run_flow=self.run, sleep=time.sleep)
        with forgetting.erasures.alone():
            return forgetting.finish(forgetting.begin(forgetting.follow(self.person(name), "default")), 60)

    def bytes(self) -> Iterator[tuple[Path, bytes]]:
        """Yield the files of everything that is kept."""
        for path in sorted((self.path / "data").rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()

    def _loaded(self, mode: str) -> Settings:
        with mock.patch.dict(os.environ, {"HEADRACE_CONFIG": str(self.path / "headrace.toml")}):
            return load(mode=mode)


def fill(company: Company) -> None:
    """Let everything come in that the company knows."""
    for person, number in NUMBERS.items():
        user(company, number, person)
        company.change(
            "people",
            "bookings",
            "shop",
            {"id": number, "user": number, "status": "booked", "trip": text_of(f"{person}'s trip")},
        )
        company.change(
            "ops",
            "stays",
            "hotel",
            {"id": number, "guest": number, "place": "Lisbon", "which_room": text_of(f"{person}'s room")},
        )
        company.change(
            "ops",
            "vouchers",
            "shop",
            {
                "id": number,
                "card": CARDS[person].replace("-", ""),
                "code": f"V-00{number}",
                "good_for": text_of(f"{person}'s voucher"),
            },
        )
        said(company, f"logged-{person}", person, text_of(f"{person}'s words in the log"))
    company.change(
        "ops",
        "flights",
        "air",
        {
            "id": 1,
            "number": "CV 214",
            "going_to": text_of("flight"),
            "cost_price": 480031700091,
            "pilot": text_of("pilot"),
        },
    )
    company.change(
        "ops", "crew", "staffing", {"id": 1, "badge": "C-1", "called_name": text_of("crew"), "salary": 720039100042}
    )
    company.change("ops", "deals", "sales", {"id": 1, "code": "D-1", "rebate_for": text_of("deal")})
    company.append("ops", '{"belladonna": ')
    for name, path in (("page", "bags.md"), ("staff page", "staff/bags.md"), ("partners page", "partners/bags.md")):
        company.write(path, f"# Baggage\n\nThe baggage of a {text_of(name)} travels for free.\n")
    company.run(*FLOWS)


def user(company: Company, number: int, person: str, **columns: Any) -> None:
    """Let a user of the shop come in, or change."""
    row = {
        "id": number,
        "name": text_of(f"{person}'s name"),
        "mail": text_of(f"{person}'s mail"),
        "card": CARDS[person],
    }
    company.change("people", "users", "shop", {**row, **columns})


def said(company: Company, conversation: str, person: str, text: str) -> None:
    """Let a person have said something to another application."""
    turn = {"type": "turn", "conversation": conversation, "role": "user", "text": text, "application": "elsewhere"}
    company.append("chat", json.dumps({**turn, "person": text_of(f"{person}'s mail"), "time": system_clock()}))
