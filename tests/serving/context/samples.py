"""Candidates of which tests need no more than a few fields."""

from __future__ import annotations

from typing import Any

from events.context import ItemKind
from serving.context.block import Shown, shown
from serving.context.candidate import Candidate

NOW = 1_793_491_200_000  # 2026-11-01 00:00:00 UTC


def candidate(kind: ItemKind = "row", id_: str = "r1", text: str = "price: 149", **fields: Any) -> Candidate:
    stores = {"chunk": "knowledge", "turn": "lake", "row": "tables"}
    plain: dict[str, Any] = {
        "kind": kind,
        "id": id_,
        "store": stores.get(kind, "profiles"),
        "source": "operations",
        "place": f"places/{id_}",
        "title": f"{kind} {id_}",
        "text": text,
        "position": "7",
        "as_of": NOW - 180_000,
        "since": NOW - 180_000,
        "applied_at": NOW - 179_000,
        "score": 0.5,
    }
    return Candidate(**{**plain, **fields})


def ready(
    kind: ItemKind = "row",
    id_: str = "r1",
    text: str = "price: 149",
    lag: int | None = 400,
    *,
    stale: bool = False,
    **fields: Any,
) -> Shown:
    return shown(candidate(kind, id_, text, **fields), lag, stale=stale)
