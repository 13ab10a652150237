"""Settings of what comes onto the log from elsewhere: databases' own logs, Kinesis, DynamoDB, S3."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from stores.sections import Section, checked_name, refuse_ours

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TABLE = re.compile(r"[^.\s\x00]{1,63}\.[^.\s\x00]{1,63}")
_PASSWORD = re.compile(r"password\s*=|://[^@/]*:[^@/]*@", re.IGNORECASE)

_PASSWORD_VARIABLE = "name of the environment variable that holds the password"  # noqa: S105  # it says where one is


def checked_variable(value: str) -> str:
    """Return `value` if it can name an environment variable, or is empty.

    :raises ValueError: When it cannot.
    """
    if value and not _VARIABLE.fullmatch(value):
        message = f"{value!r} cannot name a variable; name the one that holds the secret, not the secret itself"
        raise ValueError(message)
    return value


class TapSettings(Section):
    """What all of them have in common."""

    name: str = Field(description="its name: part of messages and states, and what its events name as their source")
    stream: str = Field("", description="stream of the log that its events go to; default: its name")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_name(value)

    @field_validator("stream")
    @classmethod
    def _foreign(cls, value: str) -> str:
        if value:
            refuse_ours(value)
            checked_name(value)
        return value

    @property
    def target(self) -> str:
        """Stream that its events go to."""
        return self.stream or self.name


class PostgresTapSettings(TapSettings):
    """`[[capture.postgres]]`: one PostgreSQL database, by its logical decoding."""

    dsn: str = Field(description="connection string, without the password: `host=db user=headrace dbname=shop`")
    password_variable: str = Field("", description=f"{_PASSWORD_VARIABLE}; default: as libpq finds it (~/.pgpass)")
    tables: tuple[str, ...] = Field(min_length=1, description="tables, each `schema.table`")
    slot: str = Field("", description="replication slot; default: `headrace_` and the name")
    publications: tuple[str, ...] = Field((), description="publications that cover the tables; default: one of its own")
    snapshot: bool = Field(True, description="read the tables first as they are; else changes only")
    heartbeat_seconds: float = Field(
        10.0, ge=0, le=3600, allow_inf_nan=False, description="how often an idle database's slot is moved; 0: never"
    )
    messages: bool = Field(False, description="take logical messages (pg_logical_emit_message) as well")

    @field_validator("dsn")
    @classmethod
    def _public(cls, value: str) -> str:
        if _PASSWORD.search(value):
            message = "the connection string holds a password; name the variable that holds it by password_variable"
            raise ValueError(message)
        return value

    @field_validator("password_variable")
    @classmethod
    def _variable(cls, value: str) -> str:
        return checked_variable(value)

    @field_validator("slot")
    @classmethod
    def _slotted(cls, value: str) -> str:
        if value and not re.fullmatch(r"[a-z0-9_]{1,63}", value):
            message = f"{value!r} cannot name a slot; use lower-case letters, digits and '_'"
            raise ValueError(message)
        return value

    @field_validator("tables")
    @classmethod
    def _qualified(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for table in value:
            if not _TABLE.fullmatch(table):
                message = f"{table!r} does not name a table; write schema.table"
                raise ValueError(message)
        return _each_once(value)

    @property
    def slot_name(self) -> str:
        """The replication slot."""
        return self.slot or f"headrace_{re.sub('[^a-z0-9_]', '_', self.name)}"[:63]

    @property
    def publication_names(self) -> tuple[str, ...]:
        """The publications; one of our own is called as the slot."""
        return self.publications or (self.slot_name,)


class MysqlTapSettings(TapSettings):
    """`[[capture.mysql]]`: one MySQL or MariaDB server, by its binlog."""

    host: str = Field("127.0.0.1", description="the server")
    port: int = Field(3306, ge=1, le=65_535, description="its port")
    user: str = Field(description="user with REPLICATION SLAVE, REPLICATION CLIENT and SELECT")
    password_variable: str = Field("", description=f"{_PASSWORD_VARIABLE}; default: no password")
    tables: tuple[str, ...] = Field(min_length=1, description="tables, each `database.table`")
    server_id: int = Field(
        5701, ge=1, lt=2**32, description="number by which the server knows us; no other may have it"
    )
    snapshot: bool = Field(True, description="read the tables first as they are; else changes only")
    tls: bool = Field(False, description="speak TLS, and check the server's certificate")

    @field_validator("password_variable")
    @classmethod
    def _variable(cls, value: str) -> str:
        return checked_variable(value)

    @field_validator("tables")
    @classmethod
    def _qualified(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for table in value:
            if not _TABLE.fullmatch(table):
                message = f"{table!r} does not name a table; write database.table"
                raise ValueError(message)
        return _each_once(value)


class AwsTapSettings(TapSettings):
    """What taps of AWS have in common. Keys are found as boto3 finds them: variables, profiles, roles."""

    region: str = Field("", description="region; default: as boto3 finds it")
    endpoint: str = Field("", description="address of a service that speaks the same protocol; default: AWS")


class KinesisTapSettings(AwsTapSettings):
    """`[[capture.kinesis]]`: one Kinesis stream."""

    kinesis_stream: str = Field(description="name of the stream in Kinesis")
    start: Literal["oldest", "newest"] = Field("oldest", description="where to begin when nothing is known")
    on_expired: Literal["fail", "oldest"] = Field(
        "fail", description="when retention has removed what was to be read next: stop, or go on from the oldest"
    )
    poll_seconds: float = Field(
        0.25,
        ge=0.2,
        le=60,
        allow_inf_nan=False,
        description="pause of a shard that has nothing new; AWS allows 5 reads a second",
    )


class DynamoTapSettings(AwsTapSettings):
    """`[[capture.dynamodb]]`: the DynamoDB Streams of one table."""

    table: str = Field(description="the table; its stream must be on, with NEW_AND_OLD_IMAGES or NEW_IMAGE")
    start: Literal["oldest", "newest"] = Field("oldest", description="where to begin when nothing is known")
    on_expired: Literal["fail", "oldest"] = Field(
        "fail", description="when a day has removed what was to be read next: stop, or go on from the oldest"
    )
    poll_seconds: float = Field(
        0.25, ge=0.05, le=60, allow_inf_nan=False, description="pause of a shard that has nothing new"
    )


class S3TapSettings(AwsTapSettings):
    """`[[capture.s3]]`: documents of a bucket, by the notifications that S3 puts into an SQS queue."""

    queue: str = Field(description="address of the SQS queue: direct notifications, through SNS, or EventBridge")
    bucket: str = Field(description="the only bucket that is read, whatever a notification says")
    object_prefix: str = Field("", description="only objects whose key begins so")
    s3_endpoint: str = Field("", description="address of S3-compatible storage, if it is another than `endpoint`")
    scan: bool = Field(True, description="list the bucket at the first start, for what was there before")
    max_object_bytes: int = Field(
        20 * 2**20, ge=1, description="larger objects are not fetched; they become dead letters"
    )
    audience: tuple[str, ...] = Field((), description="who may read the documents; default: what knowledge says")


AnyTap: TypeAlias = PostgresTapSettings | MysqlTapSettings | KinesisTapSettings | DynamoTapSettings | S3TapSettings


class CaptureSettings(Section):
    """`[capture]`: the capture flow."""

    postgres: tuple[PostgresTapSettings, ...] = Field((), description="`[[capture.postgres]]`: PostgreSQL databases")
    mysql: tuple[MysqlTapSettings, ...] = Field((), description="`[[capture.mysql]]`: MySQL and MariaDB servers")
    kinesis: tuple[KinesisTapSettings, ...] = Field((), description="`[[capture.kinesis]]`: Kinesis streams")
    dynamodb: tuple[DynamoTapSettings, ...] = Field((), description="`[[capture.dynamodb]]`: DynamoDB Streams")
    s3: tuple[S3TapSettings, ...] = Field((), description="`[[capture.s3]]`: buckets of documents")
    batch_size: int = Field(2000, ge=1, le=100_000, description="events that are appended to the log at once")

    @property
    def taps(self) -> tuple[AnyTap, ...]:
        """All of them."""
        return (*self.postgres, *self.mysql, *self.kinesis, *self.dynamodb, *self.s3)

    @model_validator(mode="after")
    def _distinct(self) -> CaptureSettings:
        names = [tap.name for tap in self.taps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"two sources are named {twice[0]!r}; give each its own name"
            raise ValueError(message)
        self._refuse_one_table_of_two()
        slots: dict[tuple[str, str], str] = {}
        for tap in self.postgres:
            if (other := slots.setdefault((tap.dsn, tap.slot_name), tap.name)) != tap.name:
                message = (
                    f"{other!r} and {tap.name!r} have one slot, {tap.slot_name}; give one of them another by `slot`"
                )
                raise ValueError(message)
        readers: dict[tuple[str, int, int], str] = {}
        for reader in self.mysql:
            key = (reader.host, reader.port, reader.server_id)
            if (other := readers.setdefault(key, reader.name)) != reader.name:
                message = f"{other!r} and {reader.name!r} read one server under one number; set another `server_id`"
                raise ValueError(message)
        return self

    def _refuse_one_table_of_two(self) -> None:
        """Refuse rows of two databases that nobody could tell apart, and whose positions say nothing to each other."""
        filled: dict[tuple[str, str], str] = {}
        databases: tuple[PostgresTapSettings | MysqlTapSettings, ...] = (*self.postgres, *self.mysql)
        for tap in databases:
            for table in tap.tables:
                if (other := filled.setdefault((tap.target, table), tap.name)) != tap.name:
                    message = (
                        f"{table} comes onto the stream {tap.target!r} from {other!r} and from {tap.name!r}; "
                        "give one of them another `stream`"
                    )
                    raise ValueError(message)


def _each_once(tables: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(tables)) < len(tables):
        message = "a table is named twice; once is enough"
        raise ValueError(message)
    return tables
