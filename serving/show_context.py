"""A context on a terminal: what the model gets, piece by piece, each with where it is from and how old it is."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from events.clock import to_iso
from events.context import Context, ContextItem, Superseded
from serving.answer.parts import Answer
from serving.answer.show import footnotes
from serving.printable import counted, moment, printable, shown
from serving.render import span

_LINES = 6
_LONGEST = 480
_CALLED = {"profile": "person", "activity": "activity", "row": "row", "chunk": "document", "turn": "said"}


def context_view(context: Context, now: int) -> RenderableType:
    """Draw a context: its items in the order of the block, then what it took."""
    lines: list[RenderableType] = []
    for item in context.items:
        lines += [*item_view(item, context.at, now), Text("")]
    took = f"{counted(context.tokens, 'token', 'tokens')} of {context.budget:,}, by {escape(context.tokenizer)}"
    left = ", ".join(f"{count} of kind {kind}" for kind, count in context.left_out.items() if count)
    lines.append(Text.from_markup(f"[dim]{took}{f'; no room for {left}' if left else ''}[/]"))
    lines += [Text.from_markup(f"[yellow]{escape(printable(note))}[/]") for note in context.notes]
    lines.append(Text.from_markup(f"[dim]context {escape(context.id)} at {to_iso(context.at)}[/]"))
    return Group(*lines)


def item_view(item: ContextItem, at: int, now: int) -> list[RenderableType]:
    """Draw one item."""
    title = escape(printable(item.title))
    head = f"[bold]{item.number}[/] [green]{_CALLED[item.kind]}[/]  [bold]{title}[/]"
    checked = "[red]may be out of date[/]" if item.stale else "current"
    if item.lag is not None:
        checked += f" as of {span(max(0, now - at + item.lag))} ago"
    place = escape(printable(f"{item.source}/{item.place}"))
    origin = f"  [cyan]{place}[/]  changed [yellow]{span(item.age(now))}[/] ago, {checked}"
    lines = _printable_lines(item.text)
    cut = [*lines[:_LINES], "…"] if len(lines) > _LINES else lines
    body = Padding(Text(_shortened("\n".join(cut))), (0, 0, 0, 2))
    warned = [Text.from_markup(f"  [red]{escape(printable(item.warning))}[/]")] if item.warning else []
    return [Text.from_markup(head), Text.from_markup(origin), *warned, body, *map(_superseded, item.superseded)]


def _printable_lines(text: str) -> list[str]:
    return [printable(line) for line in text.splitlines()]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _superseded(value: Superseded) -> Text:
    was = escape(shown(value.was) or "nothing")
    now = escape(shown(value.now) or "nothing")
    until = moment(value.until)
    return Text.from_markup(f"  [magenta]{escape(value.column)}: [strike]{was}[/strike] until {until}, is {now}[/]")


def sources_view(context: Context, answer: Answer) -> RenderableType:
    """Draw what an answer cites, and what is to be known of how it came about."""
    by_number = {item.number: item for item in context.items}
    cited = [by_number[one.number] for one in answer.citations if one.number in by_number]
    lines: list[RenderableType] = []
    for item in cited:
        place = escape(printable(f"{item.source}/{item.place}"))
        age = span(item.age(context.at))
        title = escape(printable(item.title))
        lines.append(
            Text.from_markup(f"[bold]{item.number}[/] {title}  [cyan]{place}[/]  changed [yellow]{age}[/] ago")
        )
    *notes, took = footnotes(answer)
    lines += [Text.from_markup(f"[yellow]{escape(note)}[/]") for note in notes]
    lines.append(Text.from_markup(f"[dim]{escape(took)}[/]"))
    return Group(*lines)
