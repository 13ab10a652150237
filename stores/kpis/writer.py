"""The write side of the store: each commit opens the file, writes all of it in one transaction, and closes.

A commit has data, the frontier and, if an epoch has closed, what is applied; it is there whole or not at all. What is
written has absolute values under its key, so that the same commit twice ends in the same content.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from events.alerts import Alert
from events.clock import Clock
from events.erasure import Erasure
from events.kpis import Fact, KpiValue, TooLate
from events.log import Applied, Mark
from stores.feedback_settings import FeedbackSettings
from stores.kpis import arrow, schema
from stores.kpis.analyst import Analyst, SqlWindow
from stores.kpis.definitions import Definitions
from stores.kpis.file import check, open_for_writing
from stores.kpis.retention import newest_applied, retain
from stores.kpis.standing import put_alerts, stored_alerts
from stores.kpis.upsert import insert, replace
from stores.kpis.values import amended_among, put_values
from stores.lock import WriterLock
from stores.rows.change_intake import applied_after

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HOUR = 3_600_000
SQL_SECONDS = 0.5
"""Time that one commit spends on KPIs in SQL; what is left goes into the next ones."""
RETAIN_EVERY = 60


class Batch(msgspec.Struct):
    """What is to be committed, by what names it: of each thing the newest.

    :arg facts: By kind and id; None where the fact is gone.
    :arg oldest: The oldest time of any fact in it, before or after.
    :arg values: By series and begin; those with count 0 are gone.
    :arg windows: Windows of KPIs in SQL to be computed again.
    :arg told: Alerts that have been told since the last commit.
    """

    facts: dict[str, dict[str, Fact | None]] = msgspec.field(default_factory=dict)
    oldest: int = 2**62
    values: dict[tuple[str, int], KpiValue] = msgspec.field(default_factory=dict)
    late: dict[str, TooLate] = msgspec.field(default_factory=dict)
    alerts: dict[tuple[str, str], Alert] = msgspec.field(default_factory=dict)
    windows: set[SqlWindow] = msgspec.field(default_factory=set)
    told: set[str] = msgspec.field(default_factory=set)
    frontier: int | None = None

    def __bool__(self) -> bool:
        return bool(self.facts or self.values or self.late or self.alerts or self.told or self.windows)


class KpiWriter:
    """The only writer of a store, over all processes.

    :arg identity: Gives a store that is made an id that no other has.
    :arg live: Whether a final value that changes is noted as such: in a replay, how far the frontier is when a value
        comes depends on batches and workers, and what came late is told by the values themselves.
    :raises StoreError: When another writer holds the store, or it cannot be used.
    :raises SettingsError: When a KPI in SQL cannot be understood.
    """

    def __init__(
        self,
        path: Path,
        settings: FeedbackSettings,
        clock: Clock,
        identity: Callable[[], str] = lambda: secrets.token_hex(8),
        *,
        live: bool = True,
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._analyst = Analyst(settings)
        self._definitions = Definitions(settings)
        self._live = live
        self._lateness = round(settings.lateness_seconds * 1000)
        self._dimensions: set[str] = set()
        self.applied: dict[tuple[str, str], Applied] = {}
        self.frontier: int | None = None
        self.progress = 0
        self.identity = ""
        self.pending: set[SqlWindow] = set()
        """Windows of KPIs in SQL that wait to be computed, as the file has them."""
        self.unexplained: set[str] = set()
        """Alerts of the last commit that had any for which there was no time to look for what is behind them."""
        self.untold: list[Alert] = []
        """Alerts that had been committed when the store was opened, but not told for all that is known."""
        self._lock = WriterLock(path.with_name(f"{path.name}.lock"), f"the store of KPIs {path}")
        try:
            with open_for_writing(path) as db:
                self._load(db, identity)
        except BaseException:
            self.close()
            raise

    @property
    def touched(self) -> Callable[..., Iterable[SqlWindow]]:
        """What tells the windows of KPIs in SQL that a change of a fact touches."""
        return self._analyst.touched

    def commit(self, batch: Batch, marks: Sequence[Mark] = (), *, sql_seconds: float = SQL_SECONDS) -> list[Alert]:
        """Write all of it in one transaction; return the alerts that are to be told.

        :arg marks: What has been reached, if an epoch has closed.
        """
        now = self._clock()
        applied = dict(self.applied)
        for mark in marks:
            applied[mark.source, mark.partition] = applied_after(applied.get((mark.source, mark.partition)), mark, now)
        frontier = max((time for time in (self.frontier, batch.frontier) if time is not None), default=None)
        retaining = self.progress % RETAIN_EVERY == RETAIN_EVERY - 1
        with open_for_writing(self._path) as db:
            db.execute("BEGIN")
            for kind, facts in batch.facts.items():
                self._put_facts(db, kind, facts, batch.oldest)
            put_values(db, self._definitions.whole(list(batch.values.values())), now, live=self._live)
            left = self._compute(db, self.pending | batch.windows, sql_seconds, now)
            alerts, unexplained = put_alerts(db, list(batch.alerts.values()), batch.told, self._settings, now)
            if batch.late:
                replace(db, "too_late", arrow.late_table(list(batch.late.values())), "id")
            if retaining and frontier is not None:
                retain(db, self._settings, frontier, newest_applied(applied.values()))
            self._put_applied(db, [mark for key, mark in applied.items() if mark is not self.applied.get(key)])
            db.execute(
                "UPDATE headrace_store SET progress = ?, frontier = ?, lateness = ?",
                [self.progress + 1, frontier, self._lateness],
            )
            dimensions = self._dimensions | {name for value in batch.values.values() for name, _ in value.group}
            if dimensions != self._dimensions:
                db.execute(schema.kpis_view(dimensions))
            db.execute("COMMIT")
        self.applied, self.frontier, self.pending = applied, frontier, left
        self._dimensions = dimensions
        if batch.alerts:
            self.unexplained = unexplained
        self.progress += 1
        return alerts

    def begin_anew(self, since: int) -> None:
        """Note that everything is read again: values of windows that begin before `since` (ms since epoch) stay."""
        with open_for_writing(self._path) as db:
            db.execute("BEGIN")
            self._definitions.begin_anew(db, since)
            db.execute("COMMIT")

    def erase(self, erasure: Erasure) -> None:
        """Remove the facts of the conversations that an erasure names, in a transaction of its own.

        Values of KPIs stay as they are. The file has the old bytes until it is written anew (`stores/kpis/anew.py`).
        """
        with open_for_writing(self._path) as db:
            db.execute("BEGIN")
            db.register("incoming", arrow.ids(erasure.conversations))
            count = 0
            for kind in schema.CONVERSATIONAL:
                gone = f"DELETE FROM {kind} WHERE conversation IN (SELECT id FROM incoming)"  # noqa: S608  # one of our kinds
                count += db.execute(gone).fetchall()[0][0]
            known = db.execute("SELECT coalesce(sum(facts), 0) FROM erased WHERE id = ?", [erasure.id]).fetchall()[0][0]
            db.execute("DELETE FROM erased WHERE id = ?", [erasure.id])
            db.execute("INSERT INTO erased VALUES (?, ?)", [erasure.id, count + known])
            db.execute("COMMIT")

    def close(self) -> None:
        """Let the next writer in."""
        self._analyst.close()
        self._lock.close()

    def _load(self, db: DuckDBPyConnection, identity: Callable[[], str]) -> None:
        db.execute("BEGIN")
        known = check(db, self._path)
        defined = schema.is_there(db, "definitions")
        # A store of before may lack a table or a column that has been added.
        for table, columns in schema.tables().items():
            db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
        if known and not defined:
            db.execute("ALTER TABLE kpi_values ADD COLUMN IF NOT EXISTS amended BOOLEAN")
        if not known:
            db.execute(
                "INSERT INTO headrace_store VALUES (?, ?, 0, NULL, ?)", [identity(), schema.LAYOUT, self._lateness]
            )
        for (whole,) in db.execute("SELECT whole FROM applied").fetchall():
            mark = msgspec.json.decode(whole, type=Applied)
            self.applied[mark.source, mark.partition] = mark
        self._definitions.load(db, known=defined, applied=newest_applied(self.applied.values()))
        self._dimensions = {
            name for (name,) in db.execute("SELECT DISTINCT unnest(map_keys(groups)) FROM kpi_values").fetchall()
        } | {field for kpi in self._settings.all_kpis() for by in kpi.by or self._settings.by for field in by}
        db.execute(schema.kpis_view(self._dimensions))
        db.execute("COMMIT")
        ((self.identity, self.progress, self.frontier),) = db.execute(
            "SELECT identity, progress, frontier FROM headrace_store"
        ).fetchall()
        waiting = db.execute("SELECT kpi, windows, epoch_ms(start) FROM pending").fetchall()
        self.pending = {place for place in (SqlWindow(*row) for row in waiting) if self._analyst.knows(place)}
        self.untold = [alert for alert, _, told in stored_alerts(db, None).values() if not told]

    def _put_facts(self, db: DuckDBPyConnection, kind: str, facts: dict[str, Fact | None], oldest: int) -> None:
        # Whatever stands in the store under these ids has come within the horizon of what changes it: older parts of
        # the table need not be looked at.
        since = oldest - 2 * round(self._settings.horizon_hours * _HOUR)
        db.register("incoming", arrow.ids(facts))
        db.execute(
            f"DELETE FROM {kind} USING incoming WHERE {kind}.id = incoming.id AND {kind}.time >= make_timestamptz(?)",  # noqa: S608  # one of our kinds
            [since * 1000],
        )
        there = [fact for fact in facts.values() if fact is not None]
        if there:
            insert(db, kind, arrow.facts_table(kind, there))

    def _compute(
        self, db: DuckDBPyConnection, windows: Collection[SqlWindow], seconds: float, now: int
    ) -> set[SqlWindow]:
        """Compute KPIs in SQL, newest windows first; return and note what there was no time for."""
        if not windows:
            return set()
        computed = self._analyst.compute(db, sorted(windows, key=lambda place: (-place.start, place)), seconds)
        done = [(place, values) for place, values in computed.items() if values is not None]
        if done:
            values = [value for _, found in done for value in found]
            amended = amended_among(db, values, live=self._live)
            db.register("incoming", arrow.pending_table([place for place, _ in done]))
            db.execute("""DELETE FROM kpi_values v USING incoming i
                WHERE v.kpi = i.kpi AND v.windows = i.windows AND v.start = i.start""")
            if values:
                insert(db, "kpi_values", arrow.values_table(values, now, amended))
        left = set(windows) - computed.keys()
        if left or self.pending:
            db.execute("DELETE FROM pending")
        if left:
            insert(db, "pending", arrow.pending_table(list(left)))
        return left

    def _put_applied(self, db: DuckDBPyConnection, marks: Sequence[Applied]) -> None:
        if not marks:
            return
        columns: dict[str, list[Any]] = {
            "stream": [mark.source for mark in marks],
            "position": [mark.offset for mark in marks],
            "whole": [msgspec.json.encode(mark).decode() for mark in marks],
        }
        for name in ("partition", "event_time", "read_at", "caught_up", "applied_at"):
            columns[name] = [getattr(mark, name) for mark in marks]
        replace(db, "applied", arrow.applied_table(columns), "stream", "partition")
