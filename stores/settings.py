"""All settings in one place: `headrace.toml`, overridden by `HEADRACE_…` variables.

An unknown key or a wrong value stops the start with one line that names the key and the fix.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from events.errors import SettingsError
from stores.capture_settings import CaptureSettings
from stores.cluster_settings import ClusterSettings
from stores.delivery_settings import DeliverySettings
from stores.export_settings import ExportSettings
from stores.feedback_settings import FeedbackSettings
from stores.lake_settings import LakeSettings
from stores.log_settings import LogSettings
from stores.profile_settings import ProfilesSettings
from stores.sections import (
    ChangesSettings,
    ChangeTableSettings,
    Section,
    checked_name,
    checked_table,
    refuse_twins,
    table_of,
)
from stores.serving_settings import ServingSettings

FLOWS = ("capture", "knowledge", "tables", "profiles", "feedback", "lake", "delivery")
"""All flows, each a module of `dataflows`."""

PREFIX = "HEADRACE_"
_OTHER_VARIABLES = {"HEADRACE_CONFIG", "HEADRACE_TEST_KAFKA", "HEADRACE_PAGE_KEY"}
_SECRETS = {
    "log.kafka.password": "the password of the broker",
    "rows.dsn": "a connection string",
    "vectors.dsn": "a connection string",
    "feedback.sentiment.key": "the key of an endpoint",
    "feedback.webhook.key": "the key of a webhook",
    "serving.answer.key": "the key of an endpoint",
    "serving.secret": "the secret that signs persons' tokens",
}
_AGES = 36_500 * 86_400
"""A hundred years in seconds: for ever, and no number overflows."""


class EmbeddingSettings(Section):
    """`[embedding]`: the model."""

    backend: Literal["auto", "openvino", "sentence-transformers", "hashing"] = Field(
        "auto", description="`auto` takes openvino where it is installed; `hashing` is for tests only"
    )
    threads: int = Field(0, ge=0, description="processor threads; 0: all")
    cache_megabytes: int = Field(1024, ge=1, description="bound of the embedding cache on disk")


class VectorSettings(Section):
    """`[vectors]`: the vector store."""

    backend: Literal["lancedb", "postgres"] = Field("lancedb", description="where chunks and embeddings are kept")
    dsn: SecretStr | None = Field(
        None, description="PostgreSQL's connection string; only by variable, as it may hold a password"
    )
    db_schema: str = Field("headrace_vectors", description="PostgreSQL schema that belongs to Headrace alone")
    optimize_every: int = Field(20, ge=1, description="commits between two rounds of maintenance (LanceDB)")
    index_above: int = Field(20_000, ge=1, description="rows above which a vector index is built")

    @field_validator("db_schema")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_table(value)

    @model_validator(mode="after")
    def _reachable(self) -> VectorSettings:
        if self.backend == "postgres" and self.dsn is None:
            message = "vectors.backend is 'postgres', but there is no connection string; set HEADRACE_VECTORS__DSN"
            raise ValueError(message)
        return self


class FolderSettings(Section):
    """`[[knowledge.folders]]`: one folder of documents."""

    name: str = Field(description="name of the source; it is part of every document's id")
    path: Path = Field(description="the folder; relative to the working directory")
    include: tuple[str, ...] = Field(
        ("**/*.md", "**/*.markdown", "**/*.txt", "**/*.html", "**/*.htm", "**/*.pdf", "**/*.docx"),
        description="glob patterns of what is read",
    )
    exclude: tuple[str, ...] = Field(
        ("**/.*", "**/.*/**", "**/*~", "**/node_modules/**"), description="glob patterns of what is not"
    )
    audience: tuple[str, ...] = Field(("public",), description="who may read what does not say it itself")
    audiences: dict[str, tuple[str, ...]] = Field({}, description="glob pattern to audience; the last match counts")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_name(value)


class KnowledgeSettings(Section):
    """`[knowledge]`: the knowledge flow."""

    folders: tuple[FolderSettings, ...] = ()
    streams: tuple[str, ...] = Field(("documents",), description="streams of document changes")
    max_document_bytes: int = Field(20 * 2**20, ge=1, description="larger documents become dead letters")
    max_chunk_tokens: int = Field(240, ge=16, le=254, description="tokens of a chunk, its heading path included")
    batch_size: int = Field(64, ge=1, le=10_000, description="documents that are embedded and stored at once")
    parse_seconds: float = Field(20.0, gt=0, description="time to parse one HTML, PDF or DOCX document")
    debounce_millis: int = Field(20, ge=1, description="quiet time after which a saved file is read")
    rescan_seconds: float = Field(300.0, gt=0, description="time between two full looks at a folder")

    @field_validator("streams")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_name(name) for name in value)

    @model_validator(mode="after")
    def _distinct(self) -> KnowledgeSettings:
        names = [folder.name for folder in self.folders] + list(self.streams)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"two sources are named {twice[0]!r}; give each folder and stream its own name"
            raise ValueError(message)
        return self


class RowSettings(Section):
    """`[rows]`: the row store."""

    backend: Literal["sqlite", "postgres"] = Field("sqlite", description="where live tables are kept")
    dsn: SecretStr | None = Field(
        None, description="PostgreSQL's connection string; only by variable, as it may hold a password"
    )
    db_schema: str = Field("headrace", description="PostgreSQL schema that belongs to Headrace alone")

    @field_validator("db_schema")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_table(value)

    @model_validator(mode="after")
    def _reachable(self) -> RowSettings:
        if self.backend == "postgres" and self.dsn is None:
            message = "rows.backend is 'postgres', but there is no connection string; set HEADRACE_ROWS__DSN"
            raise ValueError(message)
        return self


class LiveTableSettings(ChangeTableSettings):
    """`[[tables.live]]`: one live table."""

    ttl_seconds: float | None = Field(
        None, gt=0, le=_AGES, allow_inf_nan=False, description="age from which on a row answers unknown"
    )
    index: tuple[str, ...] = Field((), description="columns by which rows are looked up often")


class GuardSettings(Section):
    """`[tables.guard]`: holds back deletes when too much of a table disappears at once."""

    share: float = Field(
        0.5, gt=0, le=1, allow_inf_nan=False, description="share of a table's rows; 1 turns the guard off"
    )
    window_seconds: float = Field(
        60.0, ge=1, le=_AGES, allow_inf_nan=False, description="of event time, within which they disappear"
    )
    rows: int = Field(100, ge=1, description="fewer deletes than this in a window are never held back")


class TablesSettings(ChangesSettings):
    """`[tables]`: the tables flow; `[[tables.streams]]` say where changes come from."""

    live: tuple[LiveTableSettings, ...] = Field((), description="`[[tables.live]]`: the live tables")
    guard: GuardSettings = GuardSettings()
    former_hours: float = Field(
        24.0,
        ge=0,
        le=8760,
        allow_inf_nan=False,
        description="event time for which former values of rows that look-ups name are kept; 0: none",
    )

    @model_validator(mode="after")
    def _distinct(self) -> TablesSettings:
        refuse_twins(self.streams, self.live, "live tables")
        return self

    def live_of(self, source: str, table: str) -> LiveTableSettings | None:
        """Return the live table that is made of `table` of `source`; one that names the source goes first."""
        return table_of(self.live, source, table)


class Settings(BaseSettings):
    """The whole configuration. Made by `load`, then handed down: nothing reads it from the side."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, toml_file="headrace.toml"
    )

    data_dir: Path = Field(Path(".headrace"), description="where everything that Headrace keeps is kept")
    mode: Literal["live", "replay"] = Field("live", description="`replay` reads every source to its end and stops")
    heartbeat_seconds: float = Field(
        5.0, gt=0, le=3600, allow_inf_nan=False, description="how often an idle source confirms that it is idle"
    )
    log: LogSettings = LogSettings()
    capture: CaptureSettings = CaptureSettings()
    delivery: DeliverySettings = DeliverySettings()
    cluster: ClusterSettings = ClusterSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    vectors: VectorSettings = VectorSettings()
    knowledge: KnowledgeSettings = KnowledgeSettings()
    rows: RowSettings = RowSettings()
    tables: TablesSettings = TablesSettings()
    profiles: ProfilesSettings = ProfilesSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    lake: LakeSettings = LakeSettings()
    export: ExportSettings = ExportSettings()
    serving: ServingSettings = ServingSettings()

    @property
    def log_dir(self) -> Path:
        """Folder of the log."""
        return self.log.dir or self.data_dir / "log"

    @property
    def places_path(self) -> Path:
        """File of how far each source has been captured."""
        return self.data_dir / "capture.sqlite3"

    @property
    def delivered_dir(self) -> Path:
        """Folder of what waits for its delivery."""
        return self.data_dir / "delivery"

    @property
    def vectors_dir(self) -> Path:
        """Folder of the vector store."""
        return self.data_dir / "vectors"

    @property
    def cache_path(self) -> Path:
        """File of the embedding cache."""
        return self.data_dir / "embeddings.sqlite3"

    @property
    def tables_path(self) -> Path:
        """File of the live tables, where SQLite keeps them."""
        return self.data_dir / "tables.sqlite3"

    @property
    def profiles_path(self) -> Path:
        """File of the profiles, where SQLite keeps them."""
        return self.data_dir / "profiles.sqlite3"

    @property
    def kpis_path(self) -> Path:
        """File of facts, KPIs and alerts."""
        return self.data_dir / "kpis.duckdb"

    @property
    def outbox_path(self) -> Path:
        """File of alerts that are to be sent."""
        return self.data_dir / "outbox.sqlite3"

    @property
    def lake_dir(self) -> Path:
        """Folder of the lake."""
        return self.lake.dir or self.data_dir / "lake"

    @property
    def conversations_path(self) -> Path:
        """File of the conversations that late feedback may still amend."""
        return self.data_dir / "conversations.sqlite3"

    @property
    def contexts_path(self) -> Path:
        """File of the contexts that were served."""
        return self.data_dir / "contexts.sqlite3"

    @property
    def keys_path(self) -> Path:
        """File of the keys of applications, by their hashes only."""
        return self.data_dir / "keys.json"

    @property
    def secret_path(self) -> Path:
        """File of the secret that signs persons' tokens, where the settings have none."""
        return self.data_dir / "serving.secret"

    @property
    def identity_dir(self) -> Path:
        """Folder of the identity graphs' journals."""
        return self.data_dir / "identity"

    @property
    def erasures_path(self) -> Path:
        """File that remembers, by fingerprints only, who has been erased."""
        return self.data_dir / "erasures.json"

    @property
    def dead_letters_path(self) -> Path:
        """File of the dead letters."""
        return self.data_dir / "dead_letters.sqlite3"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then variables, then the file that `HEADRACE_CONFIG` names."""
        path = Path(os.environ.get("HEADRACE_CONFIG", "headrace.toml"))
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path))


def load(**overrides: Any) -> Settings:
    """Read the settings; `overrides` win over variables, variables over the file.

    :raises SettingsError: With one line that names the key, what is wrong with it, and the fix.
    """
    _refuse_unknown_variables()
    _refuse_secrets_in_file()
    named = os.environ.get("HEADRACE_CONFIG")
    if named and not Path(named).is_file():
        detail = f"HEADRACE_CONFIG names {named!r}, which is not a file"
        raise SettingsError(detail, "correct the path or unset the variable")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise _explain(error) from None
    except ValueError as error:  # TOML syntax, JSON in a variable
        cause = error.__cause__ or error
        detail = f"the settings cannot be read: {error}" if cause is error else f"{error}: {cause}"
        raise SettingsError(detail.replace("\n", " "), "correct headrace.toml or the HEADRACE_ variable") from None


def _refuse_unknown_variables() -> None:
    known = {f"{PREFIX}{key}".upper() for key in Settings.model_fields}
    for name in os.environ:
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in _OTHER_VARIABLES:
            continue
        if upper.split("__")[0] not in known:
            raise _unknown(name, sorted(known))


def _refuse_secrets_in_file() -> None:
    path = Path(os.environ.get("HEADRACE_CONFIG", "headrace.toml"))
    try:
        said = TomlConfigSettingsSource(Settings, toml_file=path)()
    except (ValueError, OSError):
        return  # what is wrong with it is said where it is read
    for secret, what in _SECRETS.items():
        *sections, last = secret.split(".")
        found: Any = said
        for section in sections:
            found = found.get(section) if isinstance(found, dict) else None
        if isinstance(found, dict) and last in found:
            detail = f"{path} holds {what}"
            variable = PREFIX + secret.replace(".", "__").upper()
            raise SettingsError(detail, f"set it by {variable} instead: secrets do not belong into files")


def _explain(error: ValidationError) -> SettingsError:
    # A misspelt key is also a missing one: what is there says more than what is not.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return _unknown(key, _siblings(first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "tuple_type":
        message = 'Input should be a list: ["…"] of values, [[…]] of sections'
    # What stands in a list has no variable of its own.
    listed = any(isinstance(part, int) for part in first["loc"])
    variable = "" if listed or not key else f" or by {PREFIX}{key.replace('.', '__').upper()}"
    return SettingsError(
        f"setting {key!r}: {message}" if key else message,
        f"correct it in headrace.toml{variable}; `headrace settings` lists all",
    )


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        # `tuple[X, ...]` stands for a list of tables of the file.
        model = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return list(model.model_fields)


def _unknown(key: str, known: list[str]) -> SettingsError:
    last = key.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(last.upper(), [name.upper() for name in known], n=1)
    hint = f"did you mean {close[0] if last.isupper() else close[0].lower()!r}?" if close else "remove it"
    return SettingsError(f"there is no setting {key!r}", f"{hint}; `headrace settings` lists all")
