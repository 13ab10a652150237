"""The file of KPIs written anew, so that no byte of what was deleted is left in it.

DuckDB leaves what it deletes in rows that it passes over, and in blocks that it may use again. Writing anew copies what
is there into a fresh file, which then takes the place of the old one, while the writer waits at the gate and no reader
has it open.
"""

from __future__ import annotations

from pathlib import Path

from events.errors import StoreError
from stores.compaction import Compaction
from stores.kpis.file import check, closed_gate, explained, open_inside
from stores.kpis.schema import literal, quoted


def write_anew(path: Path, seconds: float) -> list[Compaction]:
    """Write the file anew; nothing if there is none.

    :arg seconds: How long to wait for those who use it.
    """
    if not path.exists():
        return []
    beside = path.with_name(f"{path.name}.new")
    try:
        with explained(path), closed_gate(path, seconds):
            _clear(beside)
            db = open_inside(path, seconds, writing=True)
            try:
                if not check(db, path):
                    return []
                ((name,),) = db.execute("SELECT current_database()").fetchall()
                db.execute(f"ATTACH {literal(str(beside))} AS anew")
                db.execute(f"COPY FROM DATABASE {quoted(name)} TO anew")
                db.execute("DETACH anew")
            finally:
                db.close()
            beside.replace(path)
    except StoreError as error:
        _clear(beside)
        return [Compaction(path, error.detail)]
    return [Compaction(path)]


def _clear(beside: Path) -> None:
    """Remove what a broken-off attempt has left."""
    for left in (beside, beside.with_name(f"{beside.name}.wal")):
        left.unlink(missing_ok=True)
