"""What can be wrong with a MySQL or MariaDB server that is to be captured, each with what to do about it.

An error stops the capture before anything is read; a warning is of what will hurt somebody later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from events.errors import StoreError
from stores.capture.finding import Finding
from stores.capture.mysql.catalog import MysqlCatalog, Table
from stores.capture.mysql.session import Session
from stores.capture_settings import MysqlTapSettings

_WANTED = {"binlog_format": "ROW", "binlog_row_image": "FULL", "binlog_row_metadata": "FULL"}
_UNWANTED = {"binlog_transaction_compression": "ON", "binlog_row_value_options": "PARTIAL_JSON"}
_SHORT_SECONDS = 86_400
_BY_ITSELF = re.compile(
    r"^\s*CONSTRAINT .*\bFOREIGN KEY .*\bON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT)\b", re.MULTILINE
)


def check_server(settings: MysqlTapSettings, session: Session, catalog: MysqlCatalog) -> Iterator[Finding]:
    """Look at the server's settings, and at what the user may do there."""
    said = catalog.variables
    if said.get("log_bin", "OFF").upper() not in ("ON", "1"):
        yield Finding("error", "the server writes no binlog", "start it with log_bin and a server_id")
        return
    for name, value in _WANTED.items():
        found = said.get(name)
        if found is None:
            old = "upgrade it to MariaDB 10.5 or MySQL 8.0.1, or let Debezium read it into the log"
            yield Finding("error", f"the server is too old: it has no {name}", old)
        elif found.upper() != value:
            hint = (
                f"SET GLOBAL {name} = '{value}', and the same in its configuration; sessions that are open keep theirs"
            )
            yield Finding("error", f"the server's {name} is {found}, not {value}", hint)
    for name, value in _UNWANTED.items():
        if said.get(name, "").upper() == value:
            hint = f"SET GLOBAL {name} = {'OFF' if value == 'ON' else 'DEFAULT'}"
            yield Finding("error", f"the server's {name} is {value}, which cannot be read here", hint)
    if said.get("server_id") == str(settings.server_id):
        yield Finding("error", f"the server itself has the number {settings.server_id}", "set another server_id")
    seconds = float(said.get("binlog_expire_logs_seconds") or 0)
    if 0 < seconds < _SHORT_SECONDS:
        detail = f"the server keeps its binlog for {seconds:g} s only: a capture that is off for longer has a gap"
        yield Finding("warning", detail, "raise binlog_expire_logs_seconds")
    grants = " ".join(row[0] for row in session.run("SHOW GRANTS")).upper()
    roles = re.search(r"GRANT `[^`]+`(@`[^`]*`)? TO ", grants)
    if not roles and not re.search(r"(ALL PRIVILEGES|REPLICATION (SLAVE|REPLICA)\b).* ON \*\.\*", grants):
        hint = f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{settings.user}'@'%'"
        yield Finding("error", f"the user {settings.user} may not read the binlog", hint)


def check_tables(settings: MysqlTapSettings, session: Session, tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Look at the tables: whether they are there, can be captured, may be read, and have a key."""
    for name in settings.tables:
        table = tables.get(name)
        quoted = quoted_name(name)
        if table is None:
            hint = f"correct `tables`, create it, or: GRANT SELECT ON {quoted} TO '{settings.user}'@'%'"
            yield Finding("error", f"there is no table {name}, or the user may not see it", hint)
            continue
        if table.kind == "SYSTEM VERSIONED":
            detail = f"{name} is system-versioned: its binlog has old rows among those that live"
            yield Finding("error", detail, f"ALTER TABLE {quoted} DROP SYSTEM VERSIONING, or leave it out of `tables`")
            continue
        if table.kind != "BASE TABLE":
            yield Finding("error", f"{name} is no table", "name the tables that it is made of")
            continue
        try:
            session.run(f"SELECT 1 FROM {quoted} LIMIT 0")  # noqa: S608  # a quoted name
            made = str(session.one(f"SHOW CREATE TABLE {quoted}")[1])
        except StoreError:
            hint = f"GRANT SELECT ON {quoted} TO '{settings.user}'@'%'"
            yield Finding("error", f"the user {settings.user} may not read {name}", hint)
            continue
        # The catalog's own view of them shows nothing to a user that may only read.
        if _BY_ITSELF.search(made):
            detail = f"foreign keys change rows of {name} by themselves, which the binlog does not say"
            yield Finding("warning", detail, "make them ON DELETE RESTRICT ON UPDATE RESTRICT, and change both tables")
        if table.engine.lower() not in ("innodb", "rocksdb", "") and settings.snapshot:
            detail = f"{name} is of the engine {table.engine}: it is not read as it was at one moment"
            yield Finding("warning", detail, f"ALTER TABLE {quoted} ENGINE = InnoDB")
        if not table.said.key:
            detail = f"{name} has no primary key: nothing tells its rows apart"
            yield Finding("warning", detail, "add a primary key, or name the key of its live table by `key`")


def raise_errors(settings: MysqlTapSettings, findings: Iterable[Finding]) -> list[Finding]:
    """Return the warnings.

    :raises StoreError: For the first error.
    """
    warnings = []
    for finding in findings:
        if finding.level == "error":
            detail = f"capture {settings.name!r}: {finding.detail}"
            raise StoreError(detail, finding.hint)
        warnings.append(finding)
    return warnings


def quoted_name(name: str) -> str:
    """Return `database.table` as a statement names it."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in name.split(".", 1))
