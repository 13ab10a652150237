"""The folder of an export: whole or not at all, the same bytes for the same lake, and never over anything else.

It is written beside its place under another name, and takes its place when it is whole. The manifest says what the
files are, how they came to be and what was left out; nothing in it but `created` depends on when that was.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from events.clock import to_iso
from events.errors import HeadraceError
from serving.finetune.build import Built, Span
from serving.finetune.lines import SCHEMAS
from serving.finetune.people import salt_digest
from stores.export_settings import ExportSettings

MANIFEST = "manifest.json"
LAYOUT = "headrace-finetune/1"
_REMEDY = "see that the folder can be written and the disk has space"


class ExportFile(msgspec.Struct, frozen=True):
    """One file of an export.

    :arg name: Its path within the folder.
    """

    name: str
    lines: int
    bytes: int
    sha256: str


def check_place(folder: Path, *, force: bool) -> None:
    """Look whether an export may be written to a folder.

    :arg force: Whether an earlier export may be replaced.
    :raises HeadraceError: When something is there that may not.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        detail = f"{folder} is a file"
        raise HeadraceError(detail, "name a folder")
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        detail = f"{folder} cannot be read: {error.strerror or error}"
        raise HeadraceError(detail, _REMEDY) from error
    if names and not force:
        detail = f"{folder} is there already"
        raise HeadraceError(detail, "name another folder, or replace an earlier export with --force")
    if names and (MANIFEST not in names or names - {MANIFEST, "schema", *SCHEMAS}):
        detail = f"{folder} holds something else than an export"
        raise HeadraceError(detail, "name another folder: --force replaces earlier exports only")


def write(folder: Path, built: Built, manifest: Mapping[str, Any], *, force: bool = False) -> list[ExportFile]:
    """Write an export; return its files of lines, the manifest and the schemas apart.

    :arg manifest: As `manifest_of` returns it; what the files are is added.
    :raises HeadraceError: When something else is there, or it cannot be written.
    """
    check_place(folder, force=force)
    folder = Path(os.path.abspath(folder))
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    with _told(folder):
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            files = [
                _write_lines(beside, f"{form}/{side}.jsonl", lines)
                # Readers of data sets take a file without a line for a broken one.
                for (form, side), lines in sorted(built.lines.items()) if lines
            ]  # fmt: skip
            for form in sorted({form for (form, _), lines in built.lines.items() if lines}):
                _write_file(beside / "schema" / f"{form}.json", _pretty(SCHEMAS[form]))
            _write_file(beside / MANIFEST, _pretty({**manifest, "files": msgspec.to_builtins(files)}))
            _put_in_place(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return files


def manifest_of(
    built: Built, rules: ExportSettings, *, version: int, created: int, span: Span, region: str
) -> dict[str, Any]:
    """Return what is to be known of an export, but for its files.

    :arg version: Of the lake: number of its commit.
    :arg created: When it was made (ms since epoch).
    """
    settings = rules.model_dump(mode="json", exclude={"salt"}) | {"region": region}
    return {
        "format": LAYOUT,
        "created": to_iso(created),
        "lake": {"version": version, "conversations": built.conversations, "answers": built.answers},
        "span": {"since": _iso(span.since), "until": _iso(span.until)},
        "kept": {"first": _iso(built.first), "last": _iso(built.last), "groups": dict(built.groups)}
        | {form: {side: len(lines) for (of, side), lines in built.lines.items() if of == form} for form in SCHEMAS},
        "dropped": {what: {name: by[name] for name in sorted(by) if by[name]} for what, by in built.dropped.items()},
        "scrubbed": built.scrubbed,
        "split": {"by": "person", "salt": salt_digest(rules.salt), "validation": rules.validation},
        "settings": settings,
    }


def _iso(millis: int | None) -> str | None:
    return None if millis is None else to_iso(millis)


def _write_lines(folder: Path, name: str, lines: list[dict[str, Any]]) -> ExportFile:
    digest = hashlib.sha256()
    size = 0
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        for line in lines:
            data = msgspec.json.encode(line) + b"\n"
            digest.update(data)
            size += len(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return ExportFile(name, len(lines), size, digest.hexdigest())


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _put_in_place(beside: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        beside.rename(folder)
    except OSError:
        with contextlib.suppress(OSError):
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror or error}"
        raise HeadraceError(detail, _REMEDY) from error
