"""From members to a picture: which boxes there are, what stands in them, and where they go.

Identifiers that only one record carries stand in its box; others, and those over their limit, are boxes of their own.
No two boxes touch, and nothing is wider than `WIDTH`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import networkx as nx

from events.persons import Member, Shared, type_of
from serving.draw_person.layout import laid_out
from serving.draw_person.scene import Box, Key, Line, Point, Scene, Text, shortened, text_width
from serving.person_graph import Node, PersonGraph, State, graph_of, identifier, record, state_of
from serving.printable import moment, printable

WIDTH = 1200.0
RECORDS = 120
"""More records than these are not drawn: nobody could read them."""

_MARGIN, _PAD, _STRIP = 28.0, 9.0, 5.0
_SIZE, _SMALL, _TITLE, _LEGEND = 13.0, 11.0, 17.0, 12.0
_LEADING = 1.38
_OWN = 4

NameOf = Callable[[str], tuple[str, str, str]]
"""Returns of a record key the table's name, the key in short, and the source."""


def scene_of(
    title: str,
    members: Sequence[Member],
    shared: Mapping[tuple[str, str], Shared],
    types: Sequence[str],
    name_of: NameOf,
    *,
    marked: Collection[Node] = (),
) -> Scene:
    """Return the picture of one or a few persons.

    :arg members: All their members, the most important first: of very many, the first are drawn.
    :arg shared: By realm and name the identifiers that are over their limit.
    :arg types: Types of identifiers, the strongest first.
    :arg marked: What stands out: the path between two records.
    """
    chosen = set(marked)
    drawn = sorted(members, key=lambda member: record(member.record) not in chosen)[:RECORDS]
    composer = _Composer(drawn, shared, types, name_of, chosen)
    count = f"{len(members):,} record{'' if len(members) == 1 else 's'}"
    said = count if len(drawn) == len(members) else f"{count}, of which {len(drawn)} are drawn"
    return composer.scene(title, said)


class _Composer:
    """Composes one picture."""

    def __init__(
        self,
        members: Sequence[Member],
        shared: Mapping[tuple[str, str], Shared],
        types: Sequence[str],
        name_of: NameOf,
        marked: Collection[Node],
    ) -> None:
        self._members = members
        self._shared = shared
        self._types = types
        self._name_of = name_of
        self._marked = marked
        self._graph = graph_of(members, shared)
        self._tables = sorted({name_of(member.record)[0] for member in members})

    def scene(self, title: str, subtitle: str) -> Scene:
        """Return the picture."""
        boxes = {record(member.record): self._record_box(member) for member in self._members}
        common = sorted(node for node in self._graph if node.kind == "identifier" and self._stands_alone(node))
        boxes |= {node: self._identifier_box(node) for node in common}
        graph: PersonGraph = nx.Graph()
        graph.add_nodes_from(boxes)
        edges = self._graph.edges(data=True)
        graph.add_edges_from((one, other, edge) for one, other, edge in edges if one in boxes and other in boxes)
        sizes = {node: (box.width, box.height) for node, box in boxes.items()}
        points, size = laid_out(graph, sizes, WIDTH - 2 * _MARGIN)

        head = shortened(title, _TITLE, strong=True, room=WIDTH - 2 * _MARGIN)
        width = max(size[0], text_width(head, _TITLE, strong=True), 420.0) + 2 * _MARGIN
        left, top = (width - size[0]) / 2, _MARGIN + 62.0
        centres = {node: (left + x, top + y) for node, (x, y) in points.items()}
        placed = tuple(_moved(box, centres[node]) for node, box in boxes.items())
        lines = tuple(self._line(graph, one, other, centres) for one, other in graph.edges)
        legend, end = self._legend(placed, lines, width, top + size[1] + 44.0)
        return Scene(
            width=width,
            height=end + _MARGIN,
            title=Text(_MARGIN, _MARGIN + 12.0, head, _TITLE, True),
            subtitle=Text(_MARGIN, _MARGIN + 32.0, subtitle, _LEGEND),
            lines=lines,
            boxes=placed,
            legend=legend,
        )

    def _stands_alone(self, node: Node) -> bool:
        return self._graph.degree(node) > 1 or node in self._marked or (node.realm, node.name) in self._shared

    def _record_box(self, member: Member) -> Box:
        table, key, source = self._name_of(member.record)
        own = [name for name in member.identifiers if not self._stands_alone(identifier(name, member.realm))]
        own.sort(key=lambda name: (self._rank(name), name))
        said = own if len(own) <= _OWN else own[: _OWN - 1]
        rows = [(f"{table} {key}", _SIZE, True), *([(source, _SMALL, False)] if source else [])]
        rows += [(name.replace(":", " ", 1), _SMALL, False) for name in said]
        if len(said) < len(own):
            rows.append((f"and {len(own) - len(said)} more", _SMALL, False))
        about = [member.record, f"since {moment(member.since)}", *member.identifiers]
        marked = record(member.record) in self._marked
        return _box("record", rows, about, colour=self._tables.index(table), marked=marked)

    def _identifier_box(self, node: Node) -> Box:
        type_, _, value = node.name.partition(":")
        states = {state_of(self._graph, node, other) for other in self._graph.neighbors(node)}
        state: State = "links" if "links" in states else "held" if "held" in states else "shared"
        note, about = "", [node.name, f"carried by {self._graph.degree(node)} of these records"]
        if state == "shared":
            shared = self._shared[node.realm, node.name]
            note = f" · {shared.records:,} records"
            about[1] = f"carried by {shared.records:,} records, more than its limit of {shared.limit:,}: links nothing"
        if state == "held":
            about.append("held back: the person would be larger than the limit")
        rows = [(value, _SIZE, False), (type_ + note, _SMALL, False)]
        marked = node in self._marked
        return _box("identifier", rows, about, colour=self._rank(node.name), marked=marked, state=state)

    def _line(self, graph: PersonGraph, one: Node, other: Node, centres: Mapping[Node, Point]) -> Line:
        name = one.name if one.kind == "identifier" else other.name
        marked = one in self._marked and other in self._marked
        return Line(centres[one], centres[other], self._rank(name), state_of(graph, one, other), marked)

    def _legend(
        self, boxes: Sequence[Box], lines: Sequence[Line], width: float, top: float
    ) -> tuple[tuple[Key, ...], float]:
        entries: list[tuple[Literal["record", "identifier", "held", "shared", "marked"], int, str]] = [
            ("record", number, table) for number, table in enumerate(self._tables)
        ]
        there = sorted({box.colour for box in boxes if box.kind == "identifier" and box.state != "shared"})
        entries += [("identifier", rank, self._types[rank]) for rank in there if rank < len(self._types)]
        states = {line.state for line in lines}
        entries += [("held", 0, "held back")] if "held" in states else []
        entries += [("shared", 0, "over its limit")] if "shared" in states else []
        entries += [("marked", 0, "the path")] if any(line.marked for line in lines) else []
        keys, x, y = [], _MARGIN, top
        for kind, colour, text in entries:
            short = shortened(text, _LEGEND)
            needed = 26.0 + text_width(short, _LEGEND) + 22.0
            if x > _MARGIN and x + needed > width - _MARGIN:
                x, y = _MARGIN, y + 22.0
            keys.append(Key(x, y, kind, colour, Text(x + 26.0, y + 4.0, short, _LEGEND)))
            x += needed
        return tuple(keys), y + 10.0

    def _rank(self, name: str) -> int:
        type_ = type_of(name)
        return self._types.index(type_) if type_ in self._types else len(self._types)


def _box(
    kind: Literal["record", "identifier"],
    rows: Sequence[tuple[str, float, bool]],
    about: Sequence[str],
    *,
    colour: int,
    marked: bool,
    state: State = "links",
) -> Box:
    left = _PAD + (_STRIP if kind == "record" else 0.0)
    y, texts = _PAD - 2.0, []
    for text, size, strong in rows:
        y += size * _LEADING
        texts.append(Text(left, y - size * 0.3, shortened(text, size, strong=strong), size, strong))
    width = max(text_width(text.text, text.size, strong=text.strong) for text in texts) + left + _PAD
    said = "\n".join(printable(line) for line in about)
    return Box(0.0, 0.0, width, y + _PAD - 2.0, kind, colour, tuple(texts), said, state, marked)


def _moved(box: Box, centre: Point) -> Box:
    x, y = centre[0] - box.width / 2, centre[1] - box.height / 2
    return box._replace(x=x, y=y, texts=tuple(text._replace(x=x + text.x, y=y + text.y) for text in box.texts))
