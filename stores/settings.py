"""All settings in one place: `headrace.toml`, overridden by `HEADRACE_…` variables.

An unknown key or a wrong value stops the start with one line that names the key and the fix.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from events.errors import SettingsError

FLOWS = ("knowledge",)
"""All flows, each a module of `dataflows`."""

PREFIX = "HEADRACE_"
_OTHER_VARIABLES = {"HEADRACE_CONFIG", "HEADRACE_TEST_KAFKA"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,199}")


class Section(BaseModel):
    """A table of `headrace.toml`: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LogSettings(Section):
    """`[log]`: the streaming storage on recorded files."""

    dir: Path | None = Field(None, description="folder of the log; default: `log` in the data folder")
    partitions: int = Field(4, ge=1, le=1024, description="partitions of a stream that does not exist yet")
    segment_bytes: int = Field(64 * 2**20, ge=1024, description="size at which a partition begins a new file")
    on_expired: Literal["fail", "oldest"] = Field(
        "fail", description="when retention has removed what a flow was to read next: stop, or go on from the oldest"
    )
    fsync: bool = Field(False, description="wait for the disk at each append")


class EmbeddingSettings(Section):
    """`[embedding]`: the model."""

    backend: Literal["auto", "openvino", "sentence-transformers", "hashing"] = Field(
        "auto", description="`auto` takes openvino where it is installed; `hashing` is for tests only"
    )
    threads: int = Field(0, ge=0, description="processor threads; 0: all")
    cache_megabytes: int = Field(1024, ge=1, description="bound of the embedding cache on disk")


class VectorSettings(Section):
    """`[vectors]`: the vector store."""

    optimize_every: int = Field(20, ge=1, description="commits between two rounds of maintenance")
    index_above: int = Field(20_000, ge=1, description="rows above which a vector index is built")


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


def checked_name(value: str) -> str:
    """Return `value` if it can name a source or a stream.

    :raises ValueError: When it has other than lower-case letters, digits, dot, dash and underscore, or over 200.
    """
    if not _NAME.fullmatch(value):
        message = f"{value!r} is not a name; use lower-case letters, digits, '.', '-' and '_'"
        raise ValueError(message)
    return value


class Settings(BaseSettings):
    """The whole configuration. Made by `load`, then handed down: nothing reads it from the side."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, toml_file="headrace.toml"
    )

    data_dir: Path = Field(Path(".headrace"), description="where everything that Headrace keeps is kept")
    mode: Literal["live", "replay"] = Field("live", description="`replay` reads every source to its end and stops")
    heartbeat_seconds: float = Field(5.0, gt=0, description="how often an idle source confirms that it is idle")
    log: LogSettings = LogSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    vectors: VectorSettings = VectorSettings()
    knowledge: KnowledgeSettings = KnowledgeSettings()

    @property
    def log_dir(self) -> Path:
        """Folder of the log."""
        return self.log.dir or self.data_dir / "log"

    @property
    def vectors_dir(self) -> Path:
        """Folder of the vector store."""
        return self.data_dir / "vectors"

    @property
    def cache_path(self) -> Path:
        """File of the embedding cache."""
        return self.data_dir / "embeddings.sqlite3"

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


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return _unknown(key, _siblings(first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    variable = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
    return SettingsError(
        f"setting {key!r}: {message}" if key else message,
        f"correct it in headrace.toml or by {variable}; `headrace settings` lists all",
    )


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        model = FolderSettings if part == "folders" else annotation
    return list(model.model_fields)


def _unknown(key: str, known: list[str]) -> SettingsError:
    last = key.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(last.upper(), [name.upper() for name in known], n=1)
    hint = f"did you mean {close[0] if last.isupper() else close[0].lower()!r}?" if close else "remove it"
    return SettingsError(f"there is no setting {key!r}", f"{hint}; `headrace settings` lists all")
