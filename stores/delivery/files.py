"""Files of many records in a bucket, named and laid out as Amazon Data Firehose does.

Invariant: a record is in one file only, and a file's name is made of its records' places in the log. Files are gathered
in the outbox, in the commit that notes their records as taken, and go from it when the bucket has them: what breaks off
in between puts the same file under the same name again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import NamedTuple

from typing_extensions import override

from events.clock import Clock
from events.errors import StoreError
from events.log import LogRecord
from stores.aws import code_of, explain, open_client, passes
from stores.delivery.base import Deliverer, Refused
from stores.delivery.file_body import write_body
from stores.delivery.file_names import hour_of, object_name
from stores.delivery.lines import as_line
from stores.delivery.outbox import Outbox
from stores.delivery_settings import FilesDeliverySettings

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, hour INTEGER NOT NULL, time INTEGER NOT NULL,
    began_at INTEGER NOT NULL, bytes INTEGER NOT NULL, sealed INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    line BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS lines_of_files ON lines (file);
"""
MOST_OPEN = 100
"""Files that are gathered at once: one for each stream and hour. Beyond that the oldest one goes as it is."""

MOST_WAITING = 2**30
"""Bytes that may wait for a bucket that cannot be reached; then the flow stops."""

_FIRST_PAUSE, _LONGEST_PAUSE = 500, 60_000
_PUT_SECONDS = 120.0
_ABSENT = ("404", "NoSuchBucket")
_logger = logging.getLogger(__name__)


class _File(NamedTuple):
    id: int
    began_at: int
    size: int


class FilesDeliverer(Deliverer):
    """One bucket.

    :arg outbox: Holds the files that are gathered.
    :raises StoreError: When there is no such bucket, or it cannot be reached.
    :raises MissingExtraError: When boto3 is not installed.
    """

    def __init__(self, settings: FilesDeliverySettings, outbox: Outbox, clock: Clock) -> None:
        self._settings = settings
        self._outbox = outbox
        self._clock = clock
        self._limit = round(settings.megabytes * 2**20)
        self._age = round(settings.seconds * 1000)
        self._pause = 0
        self._next_at = 0
        with outbox.transaction() as db:
            for statement in _SCHEMA.strip().split(";\n"):
                db.execute(statement)
        self._open = self._gathered()
        self._client = open_client("s3", region=settings.region, endpoint=settings.endpoint, read_seconds=_PUT_SECONDS)
        try:
            self._check()
        except BaseException:
            self._client.close()
            raise

    @override
    def deliver(self, records: Sequence[LogRecord]) -> Sequence[Refused]:
        db = self._outbox.db
        grown: set[tuple[str, int]] = set()
        for record in records:
            line = as_line(record)
            key = record.stream, hour_of(record.event_time)
            file = self._open.get(key) or self._begin(key, record.event_time)
            place = file.id, record.partition, record.offset
            db.execute("INSERT INTO lines (file, partition, offset, line) VALUES (?, ?, ?, ?)", (*place, line))
            file = self._open[key] = file._replace(size=file.size + len(line))
            grown.add(key)
            if file.size >= self._limit:
                self._seal(key)
                grown.discard(key)
        db.executemany(
            "UPDATE files SET bytes = ? WHERE id = ?",
            [(self._open[key].size, self._open[key].id) for key in grown if key in self._open],
        )
        return ()

    @override
    def settle(self) -> None:
        now = self._clock()
        old = [key for key, file in self._open.items() if not 0 <= now - file.began_at < self._age]
        if old:
            with self._outbox.transaction():
                for key in old:
                    self._seal(key)
        if self._pause and 0 < self._next_at - now <= self._pause:
            self._check_waiting()
            return
        self._put_sealed()

    @override
    def finish(self) -> None:
        with self._outbox.transaction():
            for key in list(self._open):
                self._seal(key)
        self._put_sealed()
        if self._sealed_bytes():
            detail = f"the bucket {self._settings.bucket!r} has not taken all files"
            raise StoreError(detail, f"they wait in {self._outbox.path}; run the flow again")

    @override
    def close(self) -> None:
        self._client.close()

    def _check(self) -> None:
        """See that the bucket is there. Whoever may only put objects into it is not told, which is well."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.head_bucket(Bucket=self._settings.bucket)
        except (BotoCoreError, ClientError) as error:
            if not isinstance(error, ClientError) or code_of(error) in _ABSENT:
                raise self._explain(error) from error

    def _gathered(self) -> dict[tuple[str, int], _File]:
        rows = self._outbox.db.execute(
            "SELECT stream, hour, id, began_at, bytes FROM files WHERE NOT sealed ORDER BY id"
        )
        return {(stream, hour): _File(*rest) for stream, hour, *rest in rows}

    def _begin(self, key: tuple[str, int], time: int) -> _File:
        if len(self._open) >= MOST_OPEN:
            self._seal(min(self._open, key=lambda one: self._open[one].id))
        began_at = self._clock()
        query = "INSERT INTO files (stream, hour, time, began_at, bytes) VALUES (?, ?, ?, ?, 0)"
        made = self._outbox.db.execute(query, (*key, time, began_at))
        return _File(made.lastrowid or 0, began_at, 0)

    def _seal(self, key: tuple[str, int]) -> None:
        """Let a file grow no more, within a transaction."""
        file = self._open.pop(key)
        self._outbox.db.execute("UPDATE files SET sealed = 1, bytes = ? WHERE id = ?", (file.size, file.id))

    def _put_sealed(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        while row := self._outbox.db.execute(
            "SELECT id, stream, time FROM files WHERE sealed ORDER BY id LIMIT 1"
        ).fetchone():
            try:
                self._put(*row)
            except (BotoCoreError, ClientError) as error:
                told = self._explain(error)
                if not passes(error):
                    raise told from error
                self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._next_at = self._clock() + self._pause
                _logger.warning("%s: %s; trying again in %.1f s", self._settings.name, told.detail, self._pause / 1000)
                return
            except OSError as error:
                detail = f"a file cannot be written beside {self._outbox.path}: {error}"
                raise StoreError(detail, "make room on the disk; nothing is lost") from error
            self._pause = 0

    def _put(self, id_: int, stream: str, time: int) -> None:
        """Put one file, and let it go once the bucket has it."""
        db, settings = self._outbox.db, self._settings
        name = object_name(settings, stream, time, self._digest(id_, stream))
        lines = db.execute("SELECT line FROM lines WHERE file = ? ORDER BY id", (id_,))
        with write_body((line for (line,) in lines), settings.compression, self._outbox.path.parent) as body:
            self._client.put_object(
                Bucket=settings.bucket,
                Key=name,
                Body=body.file,
                ContentLength=body.size,
                ContentMD5=body.md5,
                ContentType="application/gzip" if settings.compression == "gzip" else "application/x-ndjson",
                Metadata={"headrace-stream": stream, "headrace-records": str(body.lines)},
            )
        with self._outbox.transaction():
            db.execute("DELETE FROM lines WHERE file = ?", (id_,))
            db.execute("DELETE FROM files WHERE id = ?", (id_,))
        _logger.info("%s: %d records of %s are in %s", settings.name, body.lines, stream, name)

    def _digest(self, id_: int, stream: str) -> str:
        """Return a hash of where the records stand in the log: the same ones make the same name."""
        query = """SELECT partition, min(offset), max(offset), count(*) FROM lines WHERE file = ?
            GROUP BY partition ORDER BY partition"""
        digest = hashlib.blake2b(f"{self._settings.name}\0{stream}".encode(), digest_size=16)
        for row in self._outbox.db.execute(query, (id_,)):
            digest.update("\0".join(map(str, row)).encode())
        return digest.hexdigest()

    def _check_waiting(self) -> None:
        waiting = self._sealed_bytes()
        if waiting > MOST_WAITING:
            detail = f"the bucket {self._settings.bucket!r} takes nothing, and {waiting >> 20} MB wait for it"
            raise StoreError(detail, "see that it can be reached; nothing is lost: start the flow again then")

    def _sealed_bytes(self) -> int:
        return int(self._outbox.db.execute("SELECT coalesce(sum(bytes), 0) FROM files WHERE sealed").fetchone()[0])

    def _explain(self, error: Exception) -> StoreError:
        settings = self._settings
        return explain(error, "s3", f"the bucket {settings.bucket!r}", settings.endpoint)
