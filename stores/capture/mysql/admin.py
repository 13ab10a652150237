"""What a person does with a capture of MySQL or MariaDB: look whether it can run, and have it read everything anew.

There is nothing to set up at the server but grants and its own settings, and nothing to drop: it knows nothing of us.
"""

from __future__ import annotations

from contextlib import closing

from events.errors import StoreError
from stores.capture.finding import Finding, finding_of
from stores.capture.mysql import checks, history
from stores.capture.mysql.catalog import MysqlCatalog
from stores.capture.mysql.place import ANEW, read_place
from stores.capture.mysql.session import Session
from stores.capture.places import Place, Places
from stores.capture_settings import MysqlTapSettings


def find_faults(settings: MysqlTapSettings, place: Place | None) -> list[Finding]:
    """Look at everything that a run of the capture needs, and change nothing."""
    try:
        with closing(Session(settings)) as session:
            catalog = MysqlCatalog(session)
            found = list(checks.check_server(settings, session, catalog))
            if any(finding.level == "error" for finding in found):
                return found
            found += checks.check_tables(settings, session, catalog.find_tables(settings.tables))
            catalog.point()
            known = read_place(settings, None if place is None else place.place)
            if known is not None and known.phase != "anew":
                found += history.check_history(settings, session, catalog, known)
            return found
    except StoreError as error:
        return [finding_of(error, settings.name)]


def script(settings: MysqlTapSettings) -> list[str]:
    """Return the statements that an administrator runs for a capture."""
    user = f"'{settings.user}'@'%'"
    return [
        "SET GLOBAL binlog_format = 'ROW'",
        "SET GLOBAL binlog_row_image = 'FULL'",
        "SET GLOBAL binlog_row_metadata = 'FULL'",
        f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}",
        *(f"GRANT SELECT ON {checks.quoted_name(table)} TO {user}" for table in settings.tables),
    ]


def reset(settings: MysqlTapSettings, places: Places, place: Place | None) -> bool:
    """Have the next run read everything anew; what was deleted meanwhile goes by a truncation.

    Tell whether there was a place to give up.
    """
    if place is not None:
        # As of when what is served was whole, says nothing any more.
        places.write({settings.name: Place(ANEW, None, caught_up=False, at=place.at, records=place.records)})
    return place is not None and place.place != ANEW
