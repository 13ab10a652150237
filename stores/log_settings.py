"""Settings of the log: recorded files, or Apache Kafka and what speaks its protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from stores.sections import Section


class KafkaSettings(Section):
    """`[log.kafka]`: the broker, and how to speak to it."""

    servers: tuple[str, ...] = Field((), description="brokers to begin with, each `host:port`")
    client: Literal["kafka-python-ng", "confluent"] = Field(
        "kafka-python-ng", description="which client; `confluent` is faster, reads transactions, and is an extra"
    )
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how connections are secured"
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("PLAIN", description="SASL mechanism")
    user: str = Field("", description="user of SASL; the password in HEADRACE_LOG__KAFKA__PASSWORD")
    password: SecretStr | None = Field(None, description="password of SASL; only by variable")
    ca: Path | None = Field(
        None, description="PEM file of authorities that brokers are trusted by; default: the system's"
    )
    certificate: Path | None = Field(None, description="PEM file of this client's certificate")
    key: Path | None = Field(None, description="PEM file of the private key of that certificate")
    replication: int = Field(1, ge=1, le=100, description="copies of a topic that is made")
    compression: Literal["none", "gzip", "lz4", "zstd"] = Field("none", description="of what is appended")
    prefix: str = Field("", description="what topics of this installation begin with; a stream is called without it")
    group: str = Field(
        "headrace", description="consumer groups `GROUP.FLOW` to which offsets are mirrored for lag tools; empty: none"
    )
    timeout_seconds: float = Field(
        30.0, gt=0, le=600, allow_inf_nan=False, description="how long a broker may not answer before that is an error"
    )
    max_message_bytes: int = Field(1_000_000, ge=1024, description="larger records are refused by an append")

    @field_validator("servers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            host, _, port = server.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 2**16:
                message = f"{server!r} is no address; write host:port"
                raise ValueError(message)
        return value

    @field_validator("prefix")
    @classmethod
    def _topical(cls, value: str) -> str:
        if not all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in value):
            message = f"{value!r} cannot begin a topic's name; use letters, digits, '.', '-' and '_'"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _whole(self) -> KafkaSettings:
        if self.security.startswith("sasl") and not self.user:
            message = f"security is {self.security!r}, but there is no user; set log.kafka.user"
            raise ValueError(message)
        if self.security.startswith("sasl") and self.password is None:
            message = f"security is {self.security!r}, but there is no password; set HEADRACE_LOG__KAFKA__PASSWORD"
            raise ValueError(message)
        for named in (self.ca, self.certificate, self.key):
            if named is not None and not named.is_file():
                message = f"there is no file {str(named)!r}; name a PEM file"
                raise ValueError(message)
        if (self.certificate is None) != (self.key is None):
            message = "a certificate and its private key go together; name both, or neither"
            raise ValueError(message)
        return self


class LogSettings(Section):
    """`[log]`: the streaming storage."""

    backend: Literal["files", "kafka"] = Field("files", description="where the log is kept")
    dir: Path | None = Field(None, description="folder of the log on files; default: `log` in the data folder")
    partitions: int = Field(4, ge=1, le=1024, description="partitions of a stream that does not exist yet")
    segment_bytes: int = Field(64 * 2**20, ge=1024, description="size at which a partition on files begins a new one")
    on_expired: Literal["fail", "oldest"] = Field(
        "fail", description="when retention has removed what a flow was to read next: stop, or go on from the oldest"
    )
    fsync: bool = Field(False, description="wait for the disk at each append to files")
    kafka: KafkaSettings = KafkaSettings()

    @model_validator(mode="after")
    def _reachable(self) -> LogSettings:
        if self.backend == "kafka" and not self.kafka.servers:
            message = "log.backend is 'kafka', but no broker is named; set log.kafka.servers to [\"host:port\"]"
            raise ValueError(message)
        return self
