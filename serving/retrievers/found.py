"""What every retriever says of an item beside its text: where it is from, and how old it is.

Invariant: every value is a text, a number, a truth value or None, as vector stores and tracers of these frameworks
demand.
"""

from __future__ import annotations

from typing import Any

from serving.client.documents import Context, Item


def chosen(context: Context, kinds: tuple[str, ...] | None) -> list[Item]:
    """Return the items of a context that are of one of these kinds, most useful first; None: all of them."""
    return [item for item in context.items if kinds is None or item.kind in kinds]


def metadata(context: Context, item: Item) -> dict[str, Any]:
    """Return what is said of an item.

    `context` is the id by which the context is shown again, and `superseded` says in words what was true until lately.
    """
    return {
        "context": context.id,
        "number": item.number,
        "kind": item.kind,
        "id": item.id,
        "title": item.title,
        "source": item.source,
        "place": item.place,
        "position": item.position,
        "as_of": item.as_of,
        "applied_at": item.applied_at,
        "age_ms": item.age_ms,
        "lag_ms": item.lag_ms,
        "stale": item.stale,
        "warning": item.warning,
        "score": item.score,
        "superseded": "; ".join(f"{change.column} was {change.was} until {change.until}" for change in item.superseded),
    }
