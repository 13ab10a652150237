"""What libpq says when there is no connection: whether to try again, and what to do."""

from __future__ import annotations

import pytest

from stores.capture.postgres.session import LostError, unreachable
from stores.capture_settings import PostgresTapSettings

SHOP = PostgresTapSettings(name="shop", dsn="host=db", tables=["public.t"], password_variable="SHOP_PASSWORD")  # noqa: S106  # its name
PLACES = (
    'connection to server at "database.internal" (10.0.0.1), port 5432 failed: ',
    'connection to server on socket "/srv/role "x" does not exist/.s.PGSQL.5432" failed: ',
    'connection failed: connection to server at "database failed: me" (10.0.0.1), port 5432 failed: ',
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("FATAL:  the database system is starting up", "wait until it has started"),
        ("FATAL:  the database system is in recovery mode", "wait until it has started"),
        ("FATAL:  the database system is shutting down", "wait until it has started"),
        (
            "FATAL:  the database system is not yet accepting connections\nDETAIL:  Consistent recovery …",
            "wait until it has started",
        ),
        ("FATAL:  the database system is not accepting connections", "wait until it has started"),
        ("Connection refused\n\tIs the server running on that host?", "check host and port"),
        ("No such file or directory", "check host and port"),
        ("server closed the connection unexpectedly", "check host and port"),
        ("FATAL:  sorry, too many clients already", "end other connections"),
        (
            'FATAL:  number of requested standby connections exceeds "max_wal_senders" (currently 10)',
            "raise max_wal_senders",
        ),
    ],
)
def test_what_passes_by_itself_is_tried_again(place: str, said: str, remedy: str) -> None:
    error = unreachable(SHOP, place + said)
    assert isinstance(error, LostError)
    assert error.soon == ("the database system" in said)
    assert remedy in error.hint


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('FATAL:  password authentication failed for user "u"', "the variable SHOP_PASSWORD"),
        ("fe_sendauth: no password supplied", "password_variable"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "u", database "shop", no encryption', "pg_hba.conf"),
        ("FATAL:  must be superuser or replication role to start walsender", "ALTER ROLE … REPLICATION"),
        ("FATAL:  permission denied to start WAL sender", "ALTER ROLE … REPLICATION"),
        ('FATAL:  role "u" does not exist', "correct `user`"),
        ('FATAL:  role "u" is not permitted to log in', "correct `user`"),
        ('FATAL:  database "shop" does not exist', "correct `dbname`"),
        ('FATAL:  database "shop" is not currently accepting connections', "correct `dbname`"),
        ('FATAL:  unrecognized configuration parameter "x"', "upgrade"),
    ],
)
def test_what_somebody_has_to_mend_is_not(place: str, said: str, remedy: str) -> None:
    error = unreachable(SHOP, place + said)
    assert not isinstance(error, LostError)
    assert remedy in error.hint
