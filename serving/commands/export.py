"""Exports for training: `headrace export finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from events.clock import system_clock
from events.errors import HeadraceError
from serving.printable import counted, json_text
from stores.settings import load

if TYPE_CHECKING:
    from serving.finetune.build import Built
    from serving.finetune.lines import Form
    from stores.export_settings import ExportSettings

_Format = Literal["chat", "preference", "both"]
_FILTERS = "Filters"
_PRIVACY = "Privacy"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    export = typer.Typer(help="Training data of what people liked.", no_args_is_help=True)

    @export.callback()
    def exports() -> None:
        """Write training data, made of the lake of conversations."""

    export.command()(finetune)
    app.add_typer(export, name="export")


def finetune(
    to: Annotated[Path, typer.Option("--to", help="The folder to be written.")],
    form: Annotated[str, typer.Option("--format", help="chat, preference or both.")] = "both",
    min_rating: Annotated[
        float | None, typer.Option(help="Of a good answer, from 0 to 1: 0.75 is 4 of 5.", rich_help_panel=_FILTERS)
    ] = None,
    unrated: Annotated[
        bool | None, typer.Option("--unrated/--rated", help="Also what nobody rated.", rich_help_panel=_FILTERS)
    ] = None,
    any_context: Annotated[
        bool | None,
        typer.Option(
            "--any-context/--fresh-only", help="Also answers from a context out of date.", rich_help_panel=_FILTERS
        ),
    ] = None,
    unknown_context: Annotated[
        bool, typer.Option("--unknown-context", help="Also answers from an unknown context.", rich_help_panel=_FILTERS)
    ] = False,
    language: Annotated[list[str] | None, typer.Option(help="Only in it; repeat.", rich_help_panel=_FILTERS)] = None,
    application: Annotated[
        list[str] | None, typer.Option(help="Only of this application; repeat.", rich_help_panel=_FILTERS)
    ] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Only about it; repeat.", rich_help_panel=_FILTERS)] = None,
    since: Annotated[
        str, typer.Option(help="Conversations that began then or later: a day, or a moment.", rich_help_panel=_FILTERS)
    ] = "",
    until: Annotated[str, typer.Option(help="Conversations that began before.", rich_help_panel=_FILTERS)] = "",
    assume_consent: Annotated[
        bool | None,
        typer.Option("--assume-consent/--given-consent", help="Also where nobody was asked.", rich_help_panel=_PRIVACY),
    ] = None,
    with_context: Annotated[
        bool | None,
        typer.Option("--with-context/--without-context", help="What the model was shown as a system message."),
    ] = None,
    validation: Annotated[float | None, typer.Option(help="Share of persons for validation.")] = None,
    salt: Annotated[str | None, typer.Option(help="Which persons those are: the same salt, the same persons.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write chat lines and preference pairs for fine-tuning, with a manifest. The lake flow may run meanwhile.

    An answer is taken if people rated it well, its context was fresh, and its person agreed. Personal data becomes
    placeholders, duplicates go, and nobody is both in training and in validation. Defaults: [export] in the settings.

    Example: headrace export finetune --to training/ --language en --since 2026-10-01
    """
    from serving.finetune.build import Span
    from serving.finetune.export import prepare, region_of
    from serving.finetune.folder import check_place, manifest_of, write
    from stores.lake.export import millis_of

    settings = load()
    changed = {
        "min_rating": min_rating,
        "unrated": unrated,
        "context": _context(any_context, unknown=unknown_context),
        "languages": language or None,
        "applications": application or None,
        "topics": topic or None,
        "consent": None if assume_consent is None else ("assumed" if assume_consent else "given"),
        "with_context": with_context,
        "validation": validation,
        "salt": salt,
    }
    rules = _rules(settings.export, {name: value for name, value in changed.items() if value is not None})
    forms = _forms(form)
    span = Span(*(millis_of(text) if text else None for text in (since, until)))
    if not dry_run:
        check_place(to, force=force)
    from rich.console import Console

    with Console(stderr=True).status("reading the lake") as status:
        version, built = prepare(
            settings,
            rules,
            forms,
            span,
            lambda count: status.update(f"{count:,} conversations") if not count % 100 else None,
        )
    manifest = manifest_of(
        built, rules, version=version, created=system_clock(), span=span, region=region_of(settings, rules)
    )
    if not dry_run:
        write(to, built, manifest, force=force)
    if as_json:
        typer.echo(json_text(manifest))
        return
    _tell(built, forms, f"{'would be ' if dry_run else ''}written to {to}")


def _forms(form: str) -> tuple[Form, ...]:
    if form not in get_args(_Format):
        detail = f"there is no format {form!r}"
        raise HeadraceError(detail, f"use one of {', '.join(get_args(_Format))}")
    return ("chat", "preference") if form == "both" else ("chat",) if form == "chat" else ("preference",)


def _context(any_: bool | None, *, unknown: bool) -> str | None:
    if any_:
        return "any"
    return "not-stale" if unknown else None if any_ is None else "fresh"


def _rules(export: ExportSettings, changed: dict[str, Any]) -> ExportSettings:
    from pydantic import ValidationError

    try:
        return type(export).model_validate({**export.model_dump(), **changed})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else "export"
        detail = f"--{option}: {first['msg'].removeprefix('Value error, ')}"
        raise HeadraceError(detail, "see `headrace export finetune --help`") from None


def _tell(built: Built, forms: tuple[Form, ...], done: str) -> None:
    from serving.finetune.selection import REASONS

    what = {"chat": ("chat line", "chat lines"), "preference": ("preference pair", "preference pairs")}
    for form in forms:
        train, validation = (len(built.lines.get((form, side), ())) for side in ("train", "validation"))
        typer.echo(f"{counted(train + validation, *what[form])} {done}: {train:,} train, {validation:,} validation")
        if train and not validation and built.groups.get("validation"):
            typer.echo("  none is left for validation: more conversations, or a larger --validation, would help")
    said = [("of", built.dropped["answers"]), *((f"for {form}", built.dropped[form]) for form in forms)]
    for where, dropped in said:
        if not dropped.total():
            continue
        total = f"{built.answers:,} answers" if where == "of" else where
        typer.echo(f"dropped {'of ' if where == 'of' else ''}{total}:")
        for reason in REASONS:
            if dropped[reason]:
                typer.echo(f"  {dropped[reason]:>9,} {REASONS[reason]}")
    if built.scrubbed:
        typer.echo("placeholders: " + ", ".join(f"{count:,} {kind}" for kind, count in built.scrubbed.items()))
