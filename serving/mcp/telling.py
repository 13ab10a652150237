"""What the tools find, as text that a model can read and quote: each piece with where it is from and how old it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serving.context.wording import DELETED, UNKNOWN
from serving.http.errors import kind_of
from serving.render import span

_LONGEST = 2000
_CELL = 500
_DESCRIBED = 4000
_ADVICE = {
    "forbidden": "Asking again will not help: say that you cannot see it, and go on without it.",
    "unknown_caller": "Asking again will not help: whoever runs this connection must renew its key or token.",
    "not_found": "It is not there: check the id.",
    "nobody": "Nobody is known under it: go on without a profile.",
    "stale": "Nothing as fresh is there yet: call again in a moment, or without `max_age_seconds` and say how old the "
    "data are.",
    "too_large": "Send less.",
    "too_many": "Wait before you call again.",
    "busy": "Call again in a moment.",
    "store": "It cannot be read at the moment: call again later, and do not guess instead.",
    "rejected": "Correct the arguments and call again.",
}


def refused(error: Any) -> str:
    """Return what is wrong and what to do about it, for whoever called a tool."""
    _, kind = kind_of(error)
    lines = [f"Refused ({kind}): {error.detail[:_LONGEST]}."]
    if error.hint:
        lines.append(f"Hint: {error.hint[:_LONGEST]}.")
    if kind in _ADVICE:
        lines.append(_ADVICE[kind])
    return "\n".join(lines)


def context_text(found: Mapping[str, Any]) -> str:
    """Return the block of a context, and what could not be asked."""
    if found["items"]:
        return str(found["block"])
    notes = [f"Note: {note}" for note in found["notes"]]
    return "\n".join(["Nothing is known here of this question. Say so rather than guess.", *notes])


def passages(items: Sequence[Mapping[str, Any]]) -> str:
    """Return pieces of documents, best first."""
    if not items:
        return "No document says anything of this. Say so rather than guess."
    return "\n\n".join(
        f"[{number}] {_heading(item)} ({item['source']}/{item['uri']}, changed {span(item['age_ms'])} ago)\n"
        f"{item['text']}"
        for number, item in enumerate(items, 1)
    )


def profile_text(found: Mapping[str, Any]) -> str:
    """Return a profile: each field with its source and age, then what the person has open."""
    lines = [f"Person {found['person']}"]
    for name, field in found["fields"].items():
        origin = field["of"][0] if field["of"] else None
        lines.append(f"{name}: {_cell(field['value'])}{_origin(origin) if origin else ''}")
    for kind, values in found["identifiers"].items():
        lines.append(f"{kind}: {', '.join(map(_cell, values))}")
    for name, collection in found["collections"].items():
        lines.append(f"{name}: {collection['count']}, of which {collection['open_count']} open")
        for activity in collection["open"]:
            lines.append(f"- open: {_columns(activity['row'])}{_origin(activity)}")
    return "\n".join(lines)


def rows_text(found: Mapping[str, Any]) -> str:
    """Return rows of a live table, one a line, with what is not known of them, and how old the table is at most."""
    age = found["age_ms"]
    held = "how old it is cannot be told" if age is None else f"complete up to {span(age)} ago"
    lines = [f"{len(found['rows'])} rows of {found['table']}; {held}"]
    for row in found["rows"]:
        if row["row"] is None:
            told = f"- {_columns(row['key'])}: not known since {row['unknown_since']}"
        else:
            unknown = dict.fromkeys(row["unknown"], UNKNOWN)
            told = f"- {_columns({**row['row'], **unknown})} (changed {span(row['age_ms'])} ago)"
        lines.append(f"{told}; {DELETED}" if row["held"] else told)
    return "\n".join(lines)


def described(tables: Iterable[Mapping[str, Any]]) -> str:
    """Return which live tables there are, with their columns, as long as there is room for it."""
    lines: list[str] = []
    left: list[str] = []
    room = _DESCRIBED
    for table in tables:
        columns = ", ".join(f"{column['column']} {column['kind']}" for column in table["columns"])
        whose = "; only the user's own rows" if table["owned"] else ""
        line = f"- {table['name']} ({columns or 'no columns seen yet'}{whose})"
        if len(line) > room:
            left.append(str(table["name"]))
            continue
        room -= len(line)
        lines.append(line)
    if not lines and not left:
        return "There are no tables for this caller."
    more = (
        f"\nand {', '.join(left)[:_LONGEST]}: their columns are in the resources headrace://tables/NAME" if left else ""
    )
    return "The tables:\n" + "\n".join(lines) + more


def _heading(item: Mapping[str, Any]) -> str:
    parts = [item["title"], *(heading for heading in item["heading"] if heading != item["title"])]
    return " > ".join(part for part in parts if part) or item["uri"]


def _columns(row: Mapping[str, Any]) -> str:
    return "; ".join(f"{column}: {_cell(value)}" for column, value in row.items())


def _origin(one: Mapping[str, Any]) -> str:
    return f" ({one['source']}, {span(one['age_ms'])} old)"


def _cell(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _CELL else text[:_CELL] + "…"
