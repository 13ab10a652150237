"""What the small server of these tests tells: one travel company, as the real one would say it."""

from __future__ import annotations

import math
from typing import Any

from events.clock import to_iso

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
PERSON = "p3vivrtpfvznh3kiv"
GRAPH = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 220" width="620" height="220">'
    "<style>:root { --ground: #fff; --ink: #1d2329 } @media (prefers-color-scheme: dark) "
    "{ :root { --ground: #12161b; --ink: #e8ecf0 } } text { fill: var(--ink); font: 14px sans-serif }</style>"
    '<rect width="620" height="220" fill="var(--ground)"/>'
    '<line x1="150" y1="60" x2="330" y2="110" stroke="#0072b2"/><line x1="150" y1="160" x2="330" y2="110" '
    'stroke="#0072b2"/><text x="30" y="64">customers 4149</text><text x="30" y="164">users 20490</text>'
    '<text x="340" y="114">email lukasz@poczta.example</text></svg>'
)


def item(number: int, kind: str, id_: str, now: int, age: int, **given: Any) -> dict[str, Any]:
    """Return an item of a context; what is not given is plain."""
    lag = given.pop("lag_ms", 400)
    return {
        "number": number,
        "kind": kind,
        "id": id_,
        "source": "operations",
        "place": id_,
        "title": id_,
        "text": "",
        "position": "24183150",
        "as_of": to_iso(now - age),
        "since": to_iso(now - age),
        "applied_at": to_iso(now - age + 250),
        "age_ms": age,
        "lag_ms": lag,
        "stale": lag is None,
        "score": 0.9,
        "tokens": 60,
        "data": {},
        "superseded": [],
        **given,
    }


def items(now: int, price: str, former: str = "129.00", ended_at: int = 0) -> list[dict[str, Any]]:
    """Return what the question about the fare is answered from."""
    fare = {"flight_id": "CRV204", "class": "economy", "price": price, "currency": "EUR", "seats_left": 7}
    flight = {"number": "CRV204", "destination": "Lisbon", "departs_at": "2026-11-07T06:40:00Z", "status": "boarding"}
    who = {"name": "Łukasz Wiśniewski", "language": "pl", "tier": "Silver", "points": 3500, "marketing": False}
    booking = {"product": "flight", "destination": "Lisbon", "status": "booked", "price": "943.50"}
    rule = (
        "Economy Light fares may be changed until two hours before departure for EUR 40, and the difference in fare "
        "is due. Changes within two hours count as a no-show."
    )
    age = now - ended_at if ended_at else 3 * MINUTE
    ended = [{"column": "price", "was": former, "now": price, "until": to_iso(ended_at or now - 3 * MINUTE)}]
    return [
        item(1, "row", "fares/77", now, age, title="fares CRV204 economy", data=fare, superseded=ended),
        item(2, "row", "flights/CRV204", now, 12_000, title="flights CRV204", data=flight),
        item(3, "profile", PERSON, now, 54 * DAY, title="Łukasz Wiśniewski", source="loyalty", data=who, text="name"),
        item(4, "activity", "shop/9001", now, 28 * DAY, title="bookings 9001", source="shop", data=booking),
        item(5, "chunk", "5f0c", now, 9 * DAY, title="Changing a booking", source="documents", text=rule)
        | {"place": "policies/changes.md", "lag_ms": 400_000, "stale": True},
        item(6, "turn", "c1/t1", now, 5 * MINUTE, title="user", source="feedback", text="I fly on Saturday morning."),
    ]


def context(now: int, question: str, person: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document of a context."""
    lines = "\n".join(f'<item n="{one["number"]}">{one["title"]}: {one["text"] or one["data"]}</item>' for one in found)
    return {
        "id": "x-19",
        "conversation": "c1",
        "person": person,
        "question": question,
        "audiences": ["public"],
        "at": to_iso(now),
        "tokens": 612,
        "budget": 1500,
        "tokenizer": "all-MiniLM-L6-v2",
        "items": found,
        "left_out": {"chunk": 3},
        "cuts": [
            {"store": "tables", "applied": {"operations/0": 4}, "age_ms": 400},
            {"store": "knowledge", "applied": {"documents/0": 9}, "age_ms": 2300},
        ],
        "notes": [],
        "block": f"What is known, as of {to_iso(now)}:\n{lines}",
    }


def source(name: str, flow: str, now: int, **given: Any) -> dict[str, Any]:
    """Return a source of the overview."""
    return {
        "flow": flow,
        "source": name,
        "running": True,
        "partitions": 2,
        "backlog": 0,
        "lag_ms": 640,
        "objective_ms": 5000,
        "met": True,
        "newest": to_iso(now - 12_000),
        "age_ms": 12_000,
        "positions": {name: "24183150"},
        "rate": 14.2 + 6 * math.sin(now / 4000),
        "caught_up": True,
        **given,
    }


def freshness(now: int) -> dict[str, Any]:
    """Return the overview of all sources."""
    return {
        "at": to_iso(now),
        "sources": [
            source("operations", "tables", now),
            source("crm", "profiles", now, positions={"crm": "0/9024C1D0"}, rate=2.4),
            source("shop", "profiles", now, lag_ms=61_000, met=False, backlog=18_240, caught_up=False, rate=410.0),
            source("documents", "knowledge", now, lag_ms=4100, rate=0.0, positions={}, age_ms=9 * DAY),
            source("feedback", "feedback", now, running=False, lag_ms=None, met=None, rate=None, backlog=None),
        ],
        "stores": {
            "documents": 41,
            "pieces": 388,
            "tables": {"flights": {"rows": 240, "held": 0}, "fares": {"rows": 1912, "held": 2}},
            "records": 845,
            "persons": 392,
            "feedback": {"answers": 1236, "ratings": 596},
            "lake": {"conversations": 611},
        },
        "dead_letters": {"tables": 2},
        "alerts": 1,
    }


def kpi(name: str, now: int, values: list[float | None], written: str, **given: Any) -> dict[str, Any]:
    """Return a KPI of the overview."""
    begin = now - now % HOUR - (len(values) - 1) * HOUR
    return {
        "kpi": name,
        "window": "1h",
        "group": {},
        "unit": "",
        "better": "",
        "aggregate": "",
        "value": values[-1] if values else None,
        "written": written,
        "trend": 1,
        "goodness": 0,
        "stage": "final",
        "groups": 0,
        "values": [{"start": to_iso(begin + n * HOUR), "value": value} for n, value in enumerate(values)],
        **given,
    }


def kpis(now: int, window: str) -> list[dict[str, Any]]:
    """Return KPIs over their last windows."""
    wave = [round(40 + 25 * math.sin(n / 3) + n % 5, 1) for n in range(30)]
    rate: list[float | None] = [0.8 + 0.15 * math.sin(n / 2) if n % 7 and not 16 < n < 20 else None for n in range(29)]
    chosen = {"window": window} if window else {"windows": ["1h", "1d"]}
    return [
        kpi("answers", now, [round(value) for value in wave], "52", **chosen),
        kpi("thumbs_up_rate", now, [*rate, 0.91], "91.0 %", aggregate="share", better="high", goodness=1, **chosen),
        kpi("latency_p95", now, [value * 31 for value in wave], "2,058 ms", unit="ms", goodness=-1, **chosen),
        kpi("longest_answer", now, [30.0], "30", groups=9, group={"topic": "baggage"}, trend=0, **chosen),
        kpi("csat", now, [], "-", aggregate="share", trend=0, **chosen),
    ]  # fmt: skip


def alerts(now: int) -> list[dict[str, Any]]:
    """Return alerts, one that stands and one that is over."""
    one = {
        "id": "answers_turned_bad/baggage",
        "rule": "answers_turned_bad",
        "kind": "threshold",
        "severity": "critical",
        "state": "raised",
        "since": to_iso(now - 25 * MINUTE),
        "event_time": to_iso(now - 5 * MINUTE),
        "subject": "bad_share of topic 'baggage'",
        "text": "bad_share is 41.2 %, expected at most 12.0 %; look at policies/baggage.md first",
        "expected": "0 to 0.12",
        "actual": 0.412,
        "group": {"topic": "baggage"},
        "documents": ["policies/baggage.md", "fares/economy-light.md"],
        "rows": None,
        "raised_at": to_iso(now - 5 * MINUTE),
        "updated_at": to_iso(now - 5 * MINUTE),
    }
    over = {"id": "context_stale/operations", "rule": "context_stale", "severity": "warning", "state": "over"}
    told = "context_lag of source 'operations' is 449 ms again; it was 1,042,908 ms"
    return [one, {**one, **over, "subject": "context_lag of operations", "text": told, "group": {}, "documents": []}]


def letters(now: int) -> list[dict[str, Any]]:
    """Return dead letters."""
    one = {
        "id": "a7c1",
        "flow": "tables",
        "step": "decode",
        "reason": "the record is not JSON: unexpected end at byte 512; send whole records",
        "stream": "operations",
        "partition": 0,
        "offset": 106_320,
        "failed_at": to_iso(now - 2 * HOUR),
    }
    return [one, {**one, "id": "a7c2", "offset": 120_301, "reason": "the row has no primary key", "step": "order"}]


def profile(now: int, city: str) -> dict[str, Any]:
    """Return a person's profile."""

    def value(text: Any, table: str, key: str, database: str, age: int) -> dict[str, Any]:
        at = {"as_of": to_iso(now - age), "applied_at": to_iso(now - age), "age_ms": age, "position": "2418315024"}
        return {
            "value": text,
            "record": f"{database}/{table}/{key}",
            "source": database,
            "table": table,
            "key": key,
        } | at

    def field(found: Any, of: list[dict[str, Any]], others: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        return {"value": found, "of": of, "others": others or []}

    def booking(key: str, is_open: bool, age: int, **row: Any) -> dict[str, Any]:
        origin = value(None, "bookings", key, "shop", age)
        del origin["value"]
        return {"row": row, "at": to_iso(now - age), "open": is_open, **origin}

    mails = ["lukasz@poczta.example", "l.wisniewski48@werkhuis.example"]
    name = value("Łukasz Wiśniewski", "customers", "4149", "crm", 110 * DAY)
    lisbon = booking("9001", True, 29 * DAY, product="flight", destination="Lisbon", status="booked", price="943.50")
    crete = booking("8417", True, 90 * DAY, product="package", destination="Crete", status="changed", price="842.50")
    athens = booking(
        "7120", False, 300 * DAY, product="flight", destination="Athens", status="travelled", price="539.50"
    )
    return {
        "person": PERSON,
        "realm": "default",
        "since": "2022-11-02T19:48:35.000Z",
        "aliases": ["pgsmei2sp3zqti4zj"],
        "age_ms": 640,
        "held": [],
        "ties": [],
        "fields": {
            "name": field(
                name["value"], [name], [value("WIŚNIEWSKI, Łukasz", "members", "CV21377654", "loyalty", DAY)]
            ),
            "email": field(mails, [value(mail, "users", "20490", "shop", 63 * DAY) for mail in mails]),
            "city": field(city, [value(city, "customers", "4149", "crm", 40_000)]),
            "tier": field("Silver", [value("Silver", "members", "CV21377654", "loyalty", 54 * DAY)]),
            "marketing": field(False, [value(False, "users", "20490", "shop", 63 * DAY)]),
        },
        "collections": {
            "bookings": {
                "count": 11,
                "open_count": 2,
                "sums": {"price": "8987.50"},
                "first": to_iso(now - 900 * DAY),
                "latest": to_iso(now - 29 * DAY),
                "open": [lisbon, crete],
                "last": [lisbon, athens],
            },
            "tickets": {"count": 0, "open_count": 0, "sums": {}, "first": None, "latest": None, "open": [], "last": []},
        },
        "identifiers": {"email": mails, "loyalty": ["CV21377654"], "phone": ["+48512303727"]},
        "records": [
            {"record": "crm/customers/4149", "source": "crm", "table": "customers", "key": "4149"},
            {"record": "shop/users/20490", "source": "shop", "table": "users", "key": "20490"},
            {"record": "loyalty/members/CV21377654", "source": "loyalty", "table": "members", "key": "CV21377654"},
        ],
    }
