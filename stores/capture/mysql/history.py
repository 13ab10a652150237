"""Whether the binlog is still the one in which the capture was left: the same server's, and not begun anew since.

Invariant: a place says something only of the history that it is of. Numbers of transactions and names of files begin
anew with RESET MASTER, and are the same on other servers: neither alone tells one history from another.
"""

from __future__ import annotations

from collections.abc import Iterator

from stores.capture.finding import Finding
from stores.capture.mysql.catalog import MysqlCatalog
from stores.capture.mysql.place import MysqlPlace, remedy, renewal
from stores.capture.mysql.session import Session
from stores.capture_settings import MysqlTapSettings

_MOST = 2**32


def check_history(
    settings: MysqlTapSettings, session: Session, catalog: MysqlCatalog, place: MysqlPlace
) -> Iterator[Finding]:
    """Look whether what comes behind the place is there, and is what came behind it when it was written down."""
    end = place.end
    if place.server != catalog.server:
        detail = f"this is another server than before ({catalog.server})"
        yield Finding("error", detail, renewal(settings))
        return
    files = {str(name): int(size) for name, size, *_ in session.run("SHOW BINARY LOGS")}
    if end.file not in files and files and _order(end.file) < min(map(_order, files)):
        detail = f"the server's binlog no longer has what comes next: {end.file} was removed"
        yield Finding("error", detail, f"{remedy(settings)}; binlog_expire_logs_seconds says how long it is kept")
        return
    # MySQL has none, and MariaDB does not find places in files larger than 4 GB.
    asked = catalog.product == "mariadb" and end.pos < _MOST
    gtid = catalog.point_at(end.file, end.pos).gtid if asked else end.gtid
    if end.pos > files.get(end.file, -1) or not _same(end.gtid, gtid):
        detail = f"the server's binlog is another one than before, or was begun anew (at {end.file}, {end.pos})"
        yield Finding("error", detail, renewal(settings))


def _same(before: str, found: str) -> bool:
    """Tell whether two GTID positions of MariaDB are the same; domains may have been removed from its lists since."""
    known, there = set(before.split(",")), set(found.split(","))
    return not before or (bool(found) and there <= known)


def _order(file: str) -> tuple[int, str]:
    return len(file), file
