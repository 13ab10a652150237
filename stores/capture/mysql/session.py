"""Connections to a captured MySQL or MariaDB, and what it refuses, told in one line with a remedy.

No password leaves this module: an error names host and user at most, and no error of the driver goes on as a cause.
What a server says when it is merely away for a while is told apart from what somebody has to mend.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from events.errors import MissingExtraError, StoreError, UnreachableError
from stores.capture.mysql.place import renewal
from stores.capture_settings import MysqlTapSettings

CONNECT_SECONDS = 10
READ_SECONDS = 60
"""How long a server may say nothing to a question, or to a reader of the binlog that it sends heartbeats."""

# Nothing of the server's defaults is to end a long read, or a connection that waits for one; values in one zone.
_PATIENT = (
    "SET SESSION time_zone = '+00:00', wait_timeout = 2147483, net_write_timeout = 86400, net_read_timeout = 86400, "
    "sql_mode = ''"
)
_AWAY = frozenset(
    {1040, 1053, 1077, 1079, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1317, 1927, 2003, 2006, 2013, 2055}
)
"""Numbers of errors after which trying again can help: too many connections, a server that goes or has gone."""
_ALTERED = frozenset({1054, 1146, 1412})
"""Columns or a table that were there when the catalog was looked at, or before the snapshot."""
_DENIED, _HOST_DENIED, _NO_RIGHT, _BINLOG, _NO_READ = 1045, 1130, 1227, 1236, (1142, 1143, 1044)


_SAME_NUMBER = "same server_uuid/server_id"


class LostError(UnreachableError):
    """The server is away, or the connection to it; it may come back."""


class Session:
    """A connection whose statements are told from each other by nothing but their order; in UTC and UTF-8.

    :raises LostError: When the server cannot be reached.
    :raises StoreError: When it refuses, or the settings cannot be used.
    :raises MissingExtraError: When the packages that speak to it are not installed.
    """

    def __init__(self, settings: MysqlTapSettings) -> None:
        self._settings = settings
        self.connection = connect(settings)
        try:
            self.run(_PATIENT)
        except BaseException:
            self.close()
            raise

    def run(self, statement: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows, texts as texts.

        :raises LostError: When the connection is gone.
        :raises StoreError: When the server refuses.
        """
        with explained(self._settings), self.connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return list(cursor.fetchall())

    def one(self, statement: str, arguments: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the first row; empty if there is none."""
        return next(iter(self.run(statement, arguments)), ())

    def variables(self) -> Mapping[str, str]:
        """Return the server's variables, by name."""
        return {name.lower(): value for name, value in self.run("SHOW GLOBAL VARIABLES")}

    def close(self) -> None:
        """Close the connection, without waiting for anything. Closing twice does nothing."""
        # What a long read has not been given yet is not waited for, by nobody.
        if self.connection._result is not None:
            self.connection._result.unbuffered_active = False
        self.connection._force_close()


def arguments_of(settings: MysqlTapSettings) -> dict[str, Any]:
    """Return what the driver is told to connect with.

    :raises StoreError: When the password's variable is not set.
    """
    given: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "user": settings.user,
        "password": "",
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "write_timeout": READ_SECONDS,
    }
    if name := settings.password_variable:
        if name not in os.environ:
            detail = f"capture {settings.name!r}: the variable {name} is not set"
            raise StoreError(detail, "put the password into it, or name another one by password_variable")
        given["password"] = os.environ[name]
    if settings.tls:
        given["ssl"] = ssl.create_default_context()
    return given


def connect(settings: MysqlTapSettings) -> Any:
    """Return a connection of the driver that commits each statement and converts no value."""
    try:
        import pymysql
        from pymysql.converters import encoders
    except ImportError:
        package, extra = "pymysql", "mysql"
        raise MissingExtraError(package, extra) from None
    with explained(settings):
        return pymysql.connect(**arguments_of(settings), autocommit=True, conv=encoders)


@contextmanager
def explained(settings: MysqlTapSettings) -> Iterator[None]:
    """Turn errors of the driver into ours.

    :raises LostError: When the server is away.
    :raises StoreError: When it refuses.
    """
    import pymysql

    try:
        yield
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise refusal(settings, error) from None


def refusal(settings: MysqlTapSettings, error: Exception) -> StoreError:
    """Return what to raise for an error of the driver."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    reason = " ".join(str(error.args[-1] if error.args else error).split())
    where = f"capture {settings.name!r}"
    # MariaDB has a number of its own for a reader that another one has pushed out.
    if number == _BINLOG or _SAME_NUMBER in reason:
        return _no_binlog(settings, reason)
    if number in _ALTERED:
        return LostError(f"{where}: a table was altered while it was read: {reason}", "it is read again")
    if number in _AWAY or isinstance(error, OSError):
        detail = f"{where}: MySQL at {settings.host}:{settings.port} cannot be reached: {reason}"
        return LostError(detail, "check host and port, and whether the server runs and listens there")
    what, hint = _denied(settings, number, isinstance(error, RuntimeError))
    return StoreError(f"{where}: {what}: {reason}", hint)


def _denied(settings: MysqlTapSettings, number: int, unequipped: bool) -> tuple[str, str]:
    """Return what the server does not let us do, and the remedy."""
    user, name = f"'{settings.user}'@'%'", settings.password_variable
    if unequipped:
        return "MySQL wants the password in a way that cannot be had", "set tls = true, or pip install cryptography"
    if number == _DENIED:
        hint = f"put the right password into the variable {name}" if name else "name its variable by password_variable"
        return f"MySQL does not let {settings.user} in", f"{hint}, or correct `user`"
    if number == _HOST_DENIED:
        return "MySQL does not let this machine in", f"create the user for this host: CREATE USER {user}"
    if number == _NO_RIGHT:
        return "the user may not read the binlog", f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}"
    if number in _NO_READ:
        return "the user may not read a table", _grant(settings)
    return "MySQL refused", f"`headrace capture check {settings.name}` says what is missing"


def _no_binlog(settings: MysqlTapSettings, reason: str) -> StoreError:
    where = f"capture {settings.name!r}"
    if _SAME_NUMBER in reason:
        detail = f"{where}: another one reads the binlog as server {settings.server_id}"
        return StoreError(detail, "give each reader its own number by server_id")
    if "log event entry exceeded max_allowed_packet" in reason:
        return StoreError(f"{where}: {reason}", "raise max_allowed_packet at the server")
    detail = f"{where}: the server's binlog no longer has what comes next, or is another one's: {reason}"
    keep = "binlog_expire_logs_seconds says how long it is kept"
    return StoreError(detail, f"{renewal(settings)}; {keep}")


def _grant(settings: MysqlTapSettings) -> str:
    tables = (".".join(f"`{part}`" for part in table.split(".")) for table in settings.tables)
    return "; ".join(f"GRANT SELECT ON {table} TO '{settings.user}'@'%'" for table in tables)
