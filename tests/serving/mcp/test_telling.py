"""What tools find, as text."""

from __future__ import annotations

from typing import Any

from serving.mcp.telling import rows_text


def row(number: int, **fields: Any) -> dict[str, Any]:
    plain = {"row": {"id": number, "status": "on time"}, "key": {"id": number}, "age_ms": 90_000}
    return {**plain, "unknown": [], "unknown_since": None, "held": False, **fields}


def test_rows_are_told_with_what_is_not_known_of_them_and_what_speaks_against_them() -> None:
    rows = [
        row(1),
        row(2, unknown=["gate"]),
        row(3, held=True),
        row(4, row=None, unknown_since="2026-11-03T09:41:00.000Z"),
        row(5, row=None, unknown_since="2026-11-03T09:41:00.000Z", held=True),
    ]
    gone = "deleted at its source; the delete waits for a decision"
    assert rows_text({"table": "flights", "age_ms": 400, "rows": rows}).splitlines() == [
        "5 rows of flights; complete up to 400 ms ago",
        "- id: 1; status: on time (changed 1.5 min ago)",
        "- id: 2; status: on time; gate: unknown (changed 1.5 min ago)",
        f"- id: 3; status: on time (changed 1.5 min ago); {gone}",
        "- id: 4: not known since 2026-11-03T09:41:00.000Z",
        f"- id: 5: not known since 2026-11-03T09:41:00.000Z; {gone}",
    ]
