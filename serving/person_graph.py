"""The graph of one or a few persons: their records, what these carry, and whether that links them.

Rebuilt from the store's members, by the rule by which they were resolved: an identifier over its limit links nothing,
and one of a type that is held back does not link the records that it is held back of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import networkx as nx

from events.persons import Member, type_of

State = Literal["links", "held", "shared"]
"""How an identifier goes with a record: it links it; its type is held back; more records than its limit carry it."""


class Node(NamedTuple):
    """A record, by its key, or an identifier.

    :arg realm: Of an identifier, as the same one may be in several; empty for a record, which is in one alone.
    """

    kind: Literal["record", "identifier"]
    name: str
    realm: str = ""


PersonGraph: TypeAlias = "nx.Graph[Node]"
"""Edges go between records and identifiers, and have a `state`."""


def record(name: str) -> Node:
    """Return the node of a record."""
    return Node("record", name)


def identifier(name: str, realm: str) -> Node:
    """Return the node of an identifier."""
    return Node("identifier", name, realm)


def graph_of(members: Iterable[Member], shared: Collection[tuple[str, str]]) -> PersonGraph:
    """Return the graph of these members.

    :arg shared: Realm and name of identifiers that are over their limit.
    """
    graph: PersonGraph = nx.Graph()
    for member in members:
        graph.add_node(record(member.record))
        for name in member.identifiers:
            state: State = "links"
            if (member.realm, name) in shared:
                state = "shared"
            elif type_of(name) in member.held:
                state = "held"
            graph.add_edge(record(member.record), identifier(name, member.realm), state=state)
    return graph


def state_of(graph: PersonGraph, one: Node, other: Node) -> State:
    """Return how two neighbours go together."""
    state: State = graph.edges[one, other]["state"]
    return state


def path(graph: PersonGraph, start: Node, end: Node, types: Sequence[str]) -> list[Node]:
    """Return the path of links between two nodes; empty if there is none.

    It is a shortest one. Of those it is one whose weakest type of identifier occurs least, then the next weaker, and so
    on. An identifier at its end need not link: it is where it is.

    :arg types: Types of identifiers, the strongest first.
    """
    ranks = {type_: rank for rank, type_ in enumerate(types)}
    # More than a path has steps: no number of stronger links outweighs a weaker one, and nothing a further step.
    base = 2 * len(graph) + 2

    def cost(one: Node, other: Node, edge: Mapping[str, State]) -> int | None:
        if edge["state"] != "links" and not {one, other} & {start, end} & _identifiers(one, other):
            return None
        name = other.name if other.kind == "identifier" else one.name
        return int(base ** len(types)) + int(base ** ranks.get(type_of(name), len(types) - 1))

    try:
        found: list[Node] = nx.dijkstra_path(graph, start, end, weight=cost)
    except (nx.NetworkXNoPath, nx.NodeNotFound):
        return []
    return found


def _identifiers(one: Node, other: Node) -> set[Node]:
    return {node for node in (one, other) if node.kind == "identifier"}
