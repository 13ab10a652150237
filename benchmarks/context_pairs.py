"""Values that must agree in every answer, planted by whoever writes, and checked by whoever reads.

- A flight and its fare are changed in one commit to one edition: no context has them of two.
- Of a customer's bookings the profile says how much they come to: what is told beside each other must add up.
- A document is rewritten whole, each section with the edition: no context has pieces of it of two.

Each change carries when it was made, so that no answer may claim another time, and editions only ever grow: whoever has
seen one sees no older one after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

EDITION = "edition"
_EDITIONS = re.compile(r"\b(handbook \d+)\b.*?\bedition (\d+)\b", re.DOTALL)
_TOLD = re.compile(r"^bookings: (\d+), of which (\d+) open; price in all (\d+)", re.MULTILINE)
SLACK = 2
"""Milliseconds by which two readings of one clock may seem to be in the wrong order: both are cut to whole ones."""


class Seen:
    """What one reader has seen: complaints, how often there was something to compare, and the newest editions."""

    def __init__(self) -> None:
        self.torn: list[str] = []
        self.implausible: list[str] = []
        self.compared: dict[str, int] = {"rows": 0, "profiles": 0, "documents": 0}
        self._newest: dict[str, int] = {}

    def context(self, context: dict[str, Any], asked: int, answered: int) -> None:
        """Check a context.

        :arg asked: When it was asked for (ms since epoch).
        :arg answered: When it had come.
        """
        items = context["items"]
        self._rows([item for item in items if item["kind"] == "row"])
        self._bookings(items)
        self._documents([item for item in items if item["kind"] == "chunk"])
        self.implausible += implausible(context, asked, answered)

    def profile(self, profile: dict[str, Any]) -> None:
        """Check a profile."""
        bookings = profile["collections"].get("bookings")
        if bookings is not None:
            prices = [activity["row"]["price"] for activity in bookings["open"]]
            self._sum("a profile", len(prices), bookings["open_count"], prices, bookings["sums"]["price"])

    def rows(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Check rows of a live table: older than before is none."""
        for row in rows:
            self._grows(f"{table}/{row['key']['id']}", row["row"][EDITION])
            if row["as_of"] != row["row"]["changed"]:
                self.implausible.append(f"{table}: {row['row']['changed']} is told as {row['as_of']}")

    def _rows(self, items: list[dict[str, Any]]) -> None:
        editions: dict[int, dict[str, int]] = {}
        for item in items:
            table, data = item["id"].partition("/")[0], item["data"]
            editions.setdefault(data["id"], {})[table] = data[EDITION]
            self._grows(f"{table}/{data['id']}", data[EDITION])
            if item["as_of"] != data["changed"]:
                self.implausible.append(f"{item['id']}: {data['changed']} is told as {item['as_of']}")
        for number, of in editions.items():
            if len(of) > 1:
                self.compared["rows"] += 1
                if len(set(of.values())) > 1:
                    self.torn.append(f"flight {number}: {of}")

    def _bookings(self, items: list[dict[str, Any]]) -> None:
        told = next((_TOLD.search(item["text"]) for item in items if item["kind"] == "profile"), None)
        prices = [item["data"]["price"] for item in items if item["kind"] == "activity"]
        if told is not None and len(prices) == int(told[2]):
            self._sum("a context", len(prices), int(told[2]), prices, told[3])

    def _documents(self, items: list[dict[str, Any]]) -> None:
        editions: dict[str, list[int]] = {}
        for item in items:
            found = _EDITIONS.search(item["text"])
            if found:
                editions.setdefault(found[1], []).append(int(found[2]))
        for name, of in editions.items():
            self._grows(name, max(of))
            if len(of) > 1:
                self.compared["documents"] += 1
                if len(set(of)) > 1:
                    self.torn.append(f"{name}: editions {of}")

    def _sum(self, what: str, count: int, told_count: int, prices: list[int], told: str) -> None:
        self.compared["profiles"] += 1
        if count != told_count or sum(prices) != int(told):
            self.torn.append(f"{what}: {told_count} bookings of {told} in all, but there are {prices}")

    def _grows(self, name: str, edition: int) -> None:
        if edition < self._newest.get(name, 0):
            self.torn.append(f"{name}: edition {edition} after {self._newest[name]}")
        self._newest[name] = max(edition, self._newest.get(name, 0))


def implausible(context: dict[str, Any], asked: int, answered: int) -> Iterator[str]:
    """Yield what a context says of times that cannot be true."""
    at = millis(context["at"])
    if not asked - SLACK <= at <= answered + SLACK:
        yield f"assembled at {at}, but asked for from {asked} to {answered}"
    for item in context["items"]:
        as_of, applied = millis(item["as_of"]), millis(item["applied_at"])
        if item["age_ms"] != max(0, at - as_of):
            yield f"{item['id']}: is {item['age_ms']} ms old, of {as_of}, at {at}"
        if not as_of - SLACK <= applied <= at + SLACK:
            yield f"{item['id']}: of {as_of}, applied at {applied}, told at {at}"
        if item["lag_ms"] is not None and item["lag_ms"] < 0:
            yield f"{item['id']}: is {item['lag_ms']} ms behind"


def millis(text: str) -> int:
    """Return a moment as milliseconds since epoch."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
