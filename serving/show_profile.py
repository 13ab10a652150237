"""Profiles, explanations and suspects as a terminal shows them. Values are escaped: none is markup or a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from events.profiles import Activity, Collection, Field, Value
from serving.drawn import Branch, Pieces
from serving.explain import Carried, Explanation
from serving.lookups import listed, short_record
from serving.person_graph import Node, identifier, record
from serving.printable import counted, in_short, moment, printable
from serving.profile_document import NameOf
from serving.profiles import Found, Suspects
from serving.render import span
from serving.ties import Held, Tie, held_among

_RECORDS = 50
_TIES = 10


def profile_view(found: Found, name_of: NameOf, *, provenance: bool = False) -> RenderableType:
    """Draw a profile: fields, collections, identifiers and records, and what to be wary of.

    :arg provenance: Whether to say of each value its record, position and times, and which others there are.
    """
    profile, now = found.profile, found.at
    held = f"store {span(found.age)} old" if found.age is not None else "age of the store not known"
    head = (
        f"[bold]{escape(profile.person)}[/]  realm {escape(profile.realm)}, since {moment(profile.since)[:10]}, {held}"
    )
    parts: list[RenderableType] = [Text.from_markup(head)]
    if held_back := held_among(profile.held, profile.identifiers):
        said = f"Links by {', '.join(held_back)} are held back: with them the person would be larger than the limit."
        parts.append(Text(said, style="yellow"))
        if found.ties:
            parts.append(_ties(found.ties))
    if profile.fields:
        drawn = _provenance(profile.fields, now) if provenance else _fields(profile.fields, name_of, now)
        parts += [Text(""), drawn]
    for name, collection in profile.collections.items():
        parts += [Text(""), *_collection(name, collection, now, provenance)]
    parts += [Text(""), _pairs((type_, ", ".join(values)) for type_, values in profile.identifiers.items())]
    parts += [Text(""), _records(profile.records, name_of)]
    if profile.aliases:
        parts += [Text(""), _pairs([("also called", listed(profile.aliases))])]
    return Group(*parts)


def explanation_view(explanation: Explanation, name_of: NameOf, now: int) -> RenderableType:
    """Draw why two things are of one person, or what keeps them apart."""
    if not explanation.together:
        return _apart(explanation, name_of, now)
    parts: list[RenderableType] = [Text.from_markup(f"[bold green]One person[/]: {escape(explanation.persons[0])}")]
    if not explanation.path:
        parts.append(Text.from_markup(f"both are {_node(explanation.a, name_of)}"))
        return Group(*parts)
    here = explanation.a
    parts.append(Text.from_markup(_node(here, name_of)))
    for step in explanation.path:
        carrier, carried = record(step.record), identifier(step.identifier, explanation.realm)
        parts.append(Branch(_where(step, now)))
        here = carried if here == carrier else carrier
        parts.append(Text.from_markup(_node(here, name_of)))
    return Group(*parts)


def suspects_view(suspects: Suspects) -> RenderableType:
    """Draw identifiers that are over their limit, and persons whose links are held back."""
    parts: list[RenderableType] = []
    if suspects.shared:
        table = Table("identifier", "realm", "records", "limit", box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.columns[0].overflow = "fold"
        for one in suspects.shared:
            name = escape(printable(one.identifier))
            table.add_row(name, escape(one.realm), f"{one.records:,}", f"{one.limit:,}")
        more = suspects.shared_count - len(suspects.shared)
        links = counted(suspects.shared_count, "identifier links", "identifiers link")
        said = f"{links} nothing: too many records share"
        parts += [Text(f"{said} {'it' if suspects.shared_count == 1 else 'them'}"), table]
        if more:
            parts.append(Text(f"and {more:,} more: --limit {suspects.shared_count}", style="dim"))
    if suspects.held:
        said = f"Persons that would be larger than {suspects.person_limit:,} records with what is held back"
        parts += [*([Text("")] if parts else []), Text(said), _held(suspects.held)]
    return Group(*(parts or [Text("Nothing is suspect: no identifier is over its limit, and no link is held back.")]))


def _held(persons: Sequence[Held]) -> Table:
    table = Table("person", "realm", "records", "held back", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = True
    table.columns[3].overflow = "fold"
    table.columns[4].no_wrap = True
    for person in persons:
        head = escape(person.person), escape(person.realm), f"{person.records:,}"
        # Without a tie, the store has changed between two reads.
        for name, joins in [*_rows_of(person.ties)] or [(", ".join(person.held), "")]:
            table.add_row(*head, escape(name), joins)
            head = "", "", ""
    return table


def _ties(ties: Sequence[Tie]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for name, joins in _rows_of(ties):
        table.add_row(f"  {escape(name)}", joins)
    return table


def _rows_of(ties: Sequence[Tie]) -> Iterable[tuple[str, str]]:
    for tie in ties[:_TIES]:
        yield printable(tie.identifier), f"joins {counted(tie.records, 'record', 'records')}"
    if len(ties) > _TIES:
        yield f"and {len(ties) - _TIES:,} more", ""


def _fields(fields: dict[str, Field], name_of: NameOf, now: int) -> Table:
    table = Table("field", "value", "from", "age", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.columns[0].style = "bold"
    table.columns[1].overflow = table.columns[2].overflow = "fold"
    table.columns[3].no_wrap = True
    for name, field in fields.items():
        for number, value in enumerate(field.of):
            label = escape(printable(name)) if number == 0 else ""
            origin = escape(_short(value.record, name_of))
            table.add_row(label, escape(in_short(value.value)), origin, span(max(0, now - value.as_of)))
    return table


def _provenance(fields: dict[str, Field], now: int) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for name, field in fields.items():
        label = escape(printable(name))
        for value in field.of:
            table.add_row(label, Group(Text(in_short(value.value)), _origin(value, now)))
            label = ""
        for value in field.others:
            other = Text.assemble(("instead of ", "dim"), in_short(value.value))
            table.add_row(label, Group(other, _origin(value, now)))
            label = ""
    return table


def _origin(value: Value | Activity, now: int) -> Pieces:
    as_of = f"as of {moment(value.as_of)}, {span(max(0, now - value.as_of))} ago"
    place = f"position {printable(value.position) or 'none'}"
    return Pieces([in_short(value.record), place, as_of, f"applied {moment(value.applied_at)}"])


def _collection(name: str, collection: Collection, now: int, provenance: bool) -> list[RenderableType]:
    said = [f"[bold]{escape(printable(name))}[/]  {collection.count:,}, {collection.open_count:,} open"]
    if collection.first is not None and collection.latest is not None:
        said.append(f"{moment(collection.first)[:10]} to {moment(collection.latest)[:10]}")
    said += [f"{escape(printable(column))} {escape(total)}" for column, total in collection.sums.items()]
    shown_open = {activity.record for activity in collection.open}
    rest = [activity for activity in collection.last if activity.record not in shown_open]
    activities = [*collection.open, *rest]
    parts: list[RenderableType] = [Text.from_markup("; ".join(said))]
    if activities:
        parts.append(_activities(activities, now, provenance))
    return parts


def _activities(activities: Sequence[Activity], now: int, provenance: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for activity in activities:
        row = ", ".join(
            f"{printable(column)} {in_short(value)}" for column, value in activity.row.items() if value is not None
        )
        told = Group(Text(row), _origin(activity, now)) if provenance else Text(row)
        table.add_row(f"  {moment(activity.at)[:10]}", "[green]open[/]" if activity.open else "", told)
    return table


def _records(records: Sequence[str], name_of: NameOf) -> RenderableType:
    named = [_short(key, name_of) for key in records[:_RECORDS]]
    more = [f"and {len(records) - _RECORDS} more"] if len(records) > _RECORDS else []
    return _pairs([(counted(len(records), "record", "records"), ", ".join([*named, *more]))])


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for label, text in pairs:
        table.add_row(escape(printable(label)), escape(printable(text)))
    return table


def _apart(explanation: Explanation, name_of: NameOf, now: int) -> RenderableType:
    one, other = _node(explanation.a, name_of), _node(explanation.b, name_of)
    parts: list[RenderableType] = [Text.from_markup("[bold yellow]Not one person[/]"), Text.from_markup(one)]
    parts.append(Text.from_markup(other))
    for reason in explanation.reasons:
        parts.append(Text(f"- {printable(reason.said)}"))
        for step in reason.carried:
            carrier = Text.from_markup(_node(record(step.record), name_of))
            parts.append(Branch(Group(carrier, _where(step, now)), indent="  "))
    return Group(*parts)


def _where(step: Carried, now: int) -> Pieces:
    if step.as_of is None:
        return Pieces(["its row is not at hand"])
    columns = (
        f"column{'' if len(step.columns) == 1 else 's'} {', '.join(step.columns)}" if step.columns else "no column"
    )
    written = f" = {in_short(step.text)}" if step.text else ""
    age = f"as of {moment(step.as_of)}, {span(max(0, now - step.as_of))} ago"
    return Pieces([f"{printable(columns)}{written};", age])


def _node(node: Node, name_of: NameOf) -> str:
    if node.kind == "identifier":
        return f"[cyan]{escape(printable(node.name))}[/]"
    return f"[bold]{escape(_short(node.name, name_of))}[/]"


def _short(record: str, name_of: NameOf) -> str:
    return in_short(short_record(record, name_of(record)))
