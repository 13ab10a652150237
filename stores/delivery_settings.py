"""Settings of what goes from the log to elsewhere: Kinesis streams, and files in S3-compatible storage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from stores.sections import Section, checked_name


class DeliverySinkSettings(Section):
    """What all of them have in common. Keys are found as boto3 finds them: variables, profiles, roles."""

    name: str = Field(description="its name: part of messages and states")
    streams: tuple[str, ...] = Field(min_length=1, description="streams of the log that are delivered")
    region: str = Field("", description="region; default: as boto3 finds it")
    endpoint: str = Field("", description="address of a service that speaks the same protocol; default: AWS")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_name(value)

    @field_validator("streams")
    @classmethod
    def _streams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_name(name) for name in value)


class KinesisDeliverySettings(DeliverySinkSettings):
    """`[[delivery.kinesis]]`: to a Kinesis stream, record by record, under the records' keys."""

    kinesis_stream: str = Field(description="name of the stream in Kinesis")


class FilesDeliverySettings(DeliverySinkSettings):
    """`[[delivery.files]]`: to a bucket, in files of many records, as Amazon Data Firehose lays them out."""

    bucket: str = Field(description="the bucket")
    prefix: str = Field(
        "", description="what names begin with, `{stream}` being the stream; `YYYY/MM/DD/HH/` of the event time follows"
    )
    megabytes: float = Field(5.0, gt=0, le=128, allow_inf_nan=False, description="size at which a file is delivered")
    seconds: float = Field(300.0, ge=1, le=3600, allow_inf_nan=False, description="age at which a file is delivered")
    compression: Literal["none", "gzip"] = Field("gzip", description="of the files")


class DeliverySettings(Section):
    """`[delivery]`: the delivery flow."""

    kinesis: tuple[KinesisDeliverySettings, ...] = Field((), description="`[[delivery.kinesis]]`: Kinesis streams")
    files: tuple[FilesDeliverySettings, ...] = Field((), description="`[[delivery.files]]`: buckets")
    batch_size: int = Field(500, ge=1, le=10_000, description="records that are delivered at once")

    @property
    def sinks(self) -> tuple[KinesisDeliverySettings | FilesDeliverySettings, ...]:
        """All of them."""
        return (*self.kinesis, *self.files)

    @model_validator(mode="after")
    def _distinct(self) -> DeliverySettings:
        names = [sink.name for sink in self.sinks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"two deliveries are named {twice[0]!r}; give each its own name"
            raise ValueError(message)
        return self
