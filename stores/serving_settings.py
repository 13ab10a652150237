"""Settings of the read side: what goes into a context, who may see what, the server, the model that answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from stores.bounded_patterns import bounded
from stores.sections import Section, checked_name, checked_table

_ENTITY = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COLUMN_OF = re.compile(r"[a-z][a-z0-9_]{0,62}\.[^.\s][^.]{0,199}")
_OF_PROFILE = re.compile(r"profile\.[^.]{1,200}(\.[^.]{1,200})?")


def _checked_entity(value: str) -> str:
    if not _ENTITY.fullmatch(value) or value == "profile":
        message = f"{value!r} cannot be a name here; use lower-case letters, digits and '_', and not 'profile'"
        raise ValueError(message)
    return value


class EntitySettings(Section):
    """`[[serving.entities]]`: one kind of thing that questions name, such as flight numbers or places.

    Either `pattern`, or `table` and `column`, or `dates`.
    """

    name: str = Field(description="its name here: lower-case letters, digits and underscores")
    pattern: str = Field(
        "", description="regular expression with bounded repeats, case ignored; its group 1, if any, is the value"
    )
    remove: str = Field("", max_length=20, description="characters that are taken out of what the pattern finds")
    upper: bool = Field(False, description="put what the pattern finds into capital letters")
    table: str = Field("", description="or: the values of a column of this live table, found as words, case ignored")
    column: str = Field("", description="that column")
    dates: bool = Field(False, description="or: days, such as `tomorrow`, `3 November` or `2026-11-03`")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return _checked_entity(value)

    @model_validator(mode="after")
    def _one_way(self) -> EntitySettings:
        if bool(self.pattern) + bool(self.table or self.column) + self.dates != 1:
            message = f"the entity {self.name!r} needs either `pattern`, or `table` and `column`, or `dates = true`"
            raise ValueError(message)
        if bool(self.table) != bool(self.column):
            message = f"the entity {self.name!r} needs both `table` and `column`"
            raise ValueError(message)
        if self.pattern:
            bounded(self.pattern, ignore_case=True)
        return self


class LookupSettings(Section):
    """`[[serving.lookups]]`: rows of a live table that belong into a context.

    A value of `where` is the name of an entity (one of its values in the question), `LOOKUP.COLUMN` (of a row that
    another look-up has found), `profile.FIELD`, or `profile.COLLECTION.COLUMN` (of an open activity).
    """

    name: str = Field("", description="its name; default: the table's")
    table: str = Field(description="the live table")
    where: dict[str, str] = Field(
        min_length=1, description="columns and where their values come from; rows must fulfil all"
    )
    order: str = Field("", description="column by which the first rows are chosen")
    descending: bool = Field(False, description="begin with the greatest")
    limit: int = Field(5, ge=1, le=100, description="rows at most")
    columns: tuple[str, ...] = Field((), description="columns that are shown; default: all that may be")
    text: str = Field(
        "", max_length=2000, description="how a row is told: `Flight {number} to {destination}`; default: its columns"
    )

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or self.table

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return _checked_entity(value) if value else value


class OwnerSettings(Section):
    """`owner` of `[[serving.tables]]`: by which column a row is a person's.

    Either `identifier`: the column holds an identifier of this type, normalised. Or `record`: it holds the value of
    `key` of a record of this table of [[profiles.tables]].
    """

    column: str = Field(description="column of the live table")
    identifier: str = Field("", description="type of identifier that it holds")
    record: str = Field("", description="or: table of [[profiles.tables]] that it refers to")
    key: str = Field("", description="and that table's key column; default: its only one")

    @model_validator(mode="after")
    def _one_way(self) -> OwnerSettings:
        if bool(self.identifier) == bool(self.record):
            message = f"the owner by {self.column!r} needs either `identifier` or `record`"
            raise ValueError(message)
        return self


class ServedTableSettings(Section):
    """`[[serving.tables]]`: who may read a live table. What is not named may be read by everyone with the scope."""

    name: str = Field(description="the live table")
    owner: OwnerSettings | None = Field(None, description="its rows are persons': each is served to its own only")
    audience: tuple[str, ...] = Field(("public",), min_length=1, description="labels of those who may read it at all")
    hidden: tuple[str, ...] = Field((), description="columns that are never served")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_table(value)


class ContextSettings(Section):
    """`[serving.context]`: what goes into a context by default."""

    budget_tokens: int = Field(1500, ge=50, le=1_000_000, description="tokens of the block")
    tokenizer: Path | None = Field(
        None, description="a `tokenizer.json` that counts them, of the model that answers; default: the embedding's"
    )
    chunks: int = Field(8, ge=0, le=200, description="pieces of documents at most")
    turns: int = Field(6, ge=0, le=100, description="turns of the conversation so far at most")
    activities: int = Field(5, ge=0, le=100, description="open activities of the person at most")
    fields: tuple[str, ...] = Field((), description="fields of the profile that are shown; default: all")
    superseded_minutes: float = Field(
        24 * 60.0,
        ge=0,
        le=525_600,
        allow_inf_nan=False,
        description="changes since then are told with the value before",
    )
    keep_days: float = Field(30.0, gt=0, le=36_500, allow_inf_nan=False, description="contexts are kept for so long")
    keep_megabytes: int = Field(2048, ge=1, description="and no more of them than this; the oldest go first")


class AnswerSettings(Section):
    """`[serving.answer]`: the model that answers; without `url` answers are put together from the context."""

    url: str = Field("", description="OpenAI-compatible endpoint, up to `/v1`: of OpenAI, vLLM, Ollama, Bedrock, ...")
    model: str = Field("", max_length=200, description="name of the model there")
    key: SecretStr | None = Field(None, description="its key; only by variable")
    instructions: str = Field("", max_length=20_000, description="what the model is told first; default: ours")
    max_tokens: int = Field(700, ge=1, le=100_000, description="tokens of an answer at most")
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False, description="default: the endpoint's")
    seconds: float = Field(60.0, gt=0, le=3600, allow_inf_nan=False, description="time for a whole answer")
    first_token_seconds: float = Field(
        15.0, gt=0, le=3600, allow_inf_nan=False, description="time until its first token, all tries together"
    )
    stall_seconds: float = Field(10.0, gt=0, le=3600, allow_inf_nan=False, description="time between two tokens")
    retries: int = Field(2, ge=0, le=10, description="more tries before the first token, with growing pauses")
    breaker_failures: int = Field(5, ge=1, le=1000, description="failures in a row after which it is left alone")
    breaker_seconds: float = Field(30.0, gt=0, le=3600, allow_inf_nan=False, description="for so long")

    @model_validator(mode="after")
    def _complete(self) -> AnswerSettings:
        if self.url and not self.model:
            message = "an endpoint needs a model; set serving.answer.model"
            raise ValueError(message)
        if self.url and not self.url.startswith(("http://", "https://")):
            message = f"{self.url!r} is not the address of an endpoint; it begins with https://"
            raise ValueError(message)
        return self


class ServingSettings(Section):
    """`[serving]`: the read side."""

    host: str = Field(
        "127.0.0.1", description="address that the server listens to; others than loopback want TLS before it"
    )
    port: int = Field(8080, ge=0, le=65535, description="its port; 0: any free one")
    hosts: tuple[str, ...] = Field((), description="names by which it may be called, beside its address and localhost")
    secret: SecretStr | None = Field(
        None, min_length=32, description="signs persons' tokens; default: one that is made and kept in the data folder"
    )
    token_minutes: float = Field(
        15.0, gt=0, le=1440, allow_inf_nan=False, description="how long a person's token is good"
    )
    requests_per_minute: int = Field(600, ge=1, le=1_000_000, description="requests of one key")
    max_body_bytes: int = Field(256 * 1024, ge=1024, le=64 * 2**20, description="larger requests are refused")
    max_question_chars: int = Field(4000, ge=10, le=100_000, description="longer questions are refused")
    wait_seconds: float = Field(
        5.0,
        ge=0,
        le=300,
        allow_inf_nan=False,
        description="how long a read waits at most to become as fresh as demanded",
    )
    feedback_stream: str = Field(
        "",
        description="stream that feedback and answers go to; default: the first of [[feedback.streams]]",
    )
    application: str = Field(
        "headrace", min_length=1, max_length=200, description="application of answers that are given here"
    )
    context: ContextSettings = ContextSettings()
    answer: AnswerSettings = AnswerSettings()
    entities: tuple[EntitySettings, ...] = Field((), description="`[[serving.entities]]`: what questions name")
    lookups: tuple[LookupSettings, ...] = Field(
        (), description="`[[serving.lookups]]`: rows that belong into a context"
    )
    tables: tuple[ServedTableSettings, ...] = Field(
        (), description="`[[serving.tables]]`: who may read which live table"
    )

    @field_validator("feedback_stream")
    @classmethod
    def _stream(cls, value: str) -> str:
        return checked_name(value) if value else value

    @model_validator(mode="after")
    def _consistent(self) -> ServingSettings:
        _refuse_twins("entities", [entity.name for entity in self.entities])
        _refuse_twins("look-ups", [lookup.called for lookup in self.lookups])
        _refuse_twins("served tables", [table.name for table in self.tables])
        entities, before = {entity.name for entity in self.entities}, set[str]()
        for lookup in self.lookups:
            for column, of in lookup.where.items():
                if of in entities or _OF_PROFILE.fullmatch(of):
                    continue
                if not _COLUMN_OF.fullmatch(of) or of.partition(".")[0] not in before:
                    message = (
                        f"the look-up {lookup.called!r} takes {column!r} from {of!r}: that is no entity, look-up "
                        "before it (`LOOKUP.COLUMN`), field of the profile (`profile.FIELD`) or of its open activities "
                        "(`profile.COLLECTION.COLUMN`)"
                    )
                    raise ValueError(message)
            before.add(lookup.called)
        return self

    def table(self, name: str) -> ServedTableSettings:
        """Return who may read a live table."""
        return next((table for table in self.tables if table.name == name), ServedTableSettings(name=name))


def _refuse_twins(what: str, names: Iterable[str]) -> None:
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"two {what} are named {twice[0]!r}; give each its own name"
        raise ValueError(message)
