"""The identity graph of one realm: records and identifiers are its nodes, persons its components within limits.

Types of identifiers are ordered, the strongest first. An identifier that more records carry than its type's limit links
nothing. Let C_j(r) be the component of the record r when only identifiers of the j strongest types link. The person of
r is C_j(r) for the largest j for which that has no more records than `person_limit`; the types after the j-th are held
back. So who is who is a function of what all records carry, whatever has been before.

Work is proportional to the persons that a change touches, never to the graph. As C_j(r) grows with j, a person is the
union of all C_j(r) that fit; and no record's person can change unless one of these, before the change or after it,
holds a record at which links begin or end: the changed record, the others that carry an identifier which it gains or
loses (one stands for all, as long as they are linked by it before and after), or all that carry one which starts or
stops linking. These few are looked at, with the persons that they were of and those that they are of, and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import networkx as nx

from events.persons import person_id, type_of
from operators.identity.moves import Move, Moves
from operators.identity.rules import IdentityRules


class _Record(msgspec.Struct, gc=False, eq=False):
    """The node of a record: equal to no other one, so that no identifier can be taken for it."""

    key: str
    since: int
    person: str = ""


class _Person(msgspec.Struct, frozen=True, gc=False):
    """The records of a person, the earliest first."""

    records: tuple[_Record, ...]
    held: tuple[str, ...]


class _NoData(msgspec.Struct, frozen=True, gc=False):
    """What all nodes and edges have for their attributes.

    One object for all saves an empty dict for each; and as the garbage collector does not know it, it need not walk
    through millions of adjacencies either.
    """

    def update(self, data: dict[str, Any]) -> None:
        if data:
            message = "nodes and edges of the identity graph have no attributes"
            raise TypeError(message)


if TYPE_CHECKING:
    _Graph = nx.Graph[_Record | str]
else:
    _Graph = nx.Graph

_NO_DATA: Any = _NoData()
_NOBODY: dict[_Record, Any] = {}


def _no_data() -> Any:
    return _NO_DATA


class _LeanGraph(_Graph):
    node_attr_dict_factory = staticmethod(_no_data)
    edge_attr_dict_factory = staticmethod(_no_data)


class IdentityGraph:
    """Who is who in one realm.

    `visited` counts the records and identifiers that searches have looked at: the work that was done.

    :arg rules: The types of identifiers with their limits, and how many records a person has at most.
    """

    def __init__(self, realm: str, rules: IdentityRules) -> None:
        self.realm = realm
        self.visited = 0
        self._graph = _LeanGraph()
        # Looked up by the million: the graph's own views would cost more than the searches.
        self._links: dict[Any, dict[Any, Any]] = vars(self._graph)["_adj"]
        self._records: dict[str, _Record] = {}
        self._persons: dict[str, _Person] = {}
        self._person_limit = rules.person_limit
        names = [rule.type for rule in rules.types]
        limits = {rule.type: rule.limit for rule in rules.types}
        self._limits = limits
        # By depth: which types link, with their limits, and which ones are held back.
        self._linking = [{name: limits[name] for name in names[:depth]} for depth in range(len(names) + 1)]
        self._held = [tuple(names[depth:]) for depth in range(len(names) + 1)]

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, record: str) -> bool:
        return record in self._records

    def change(self, record: str, identifiers: Collection[str] | None, since: int = 0) -> Moves:
        """Let a record carry these identifiers, and return what that does.

        :arg identifiers: None: the record is gone.
        :arg since: When it was made (ms since epoch).
        """
        node = self._records.get(record)
        had: Collection[str] = () if node is None else self._links[node]
        if identifiers is None and node is None:
            return Moves()
        wanted = dict.fromkeys(identifiers or ())
        gained = [identifier for identifier in wanted if identifier not in had]
        lost = [identifier for identifier in had if identifier not in wanted]
        if node is not None and identifiers is not None and not gained and not lost and node.since == since:
            return Moves()
        near, shared = self._near(node, gained, lost)
        before: dict[str, _Person] = {}
        for neighbour in (*near, *(() if node is None else (node,))):
            before[neighbour.person] = self._persons[neighbour.person]
        gone = node if identifiers is None else None
        if gone is not None:
            self._remove(gone, lost)
            node = None
        else:
            node = self._write(node, record, gained, lost, since)
        after = self._regrouped(node, near, before, gone)
        return self._moved(before, after, gone, shared)

    def add(self, record: str, identifiers: Iterable[str], since: int) -> None:
        """Let one more record carry identifiers; whose it is, is open until `settle`."""
        self._write(None, record, identifiers, (), since)

    def settle(self) -> None:
        """Find the persons of all records that were added."""
        for node in self._records.values():
            if not node.person:
                found, depth = self._find(node)
                self._put(*self._person(found, self._held[depth], {}))

    def place(self, record: str) -> tuple[str, tuple[str, ...]]:
        """Return the person of a record and the types held back; an empty id for a record that is not there."""
        node = self._records.get(record)
        return ("", ()) if node is None else (node.person, self._persons[node.person].held)

    def persons(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return the ids of all persons with the keys of their records, the earliest first."""
        for id_, person in self._persons.items():
            yield id_, tuple(node.key for node in person.records)

    def carried(self, identifier: str) -> int:
        """Return how many records carry an identifier."""
        return len(self._links.get(identifier, _NOBODY))

    def limit(self, identifier: str) -> int:
        """Return how many records an identifier links at most; 0 for one of an unknown type, which links none."""
        return self._limits.get(type_of(identifier), 0)

    def shared(self) -> Iterator[str]:
        """Return all identifiers that more records carry than their limit."""
        least = min(self._limits.values(), default=0)
        for name, holders in self._links.items():
            if len(holders) > least and isinstance(name, str) and len(holders) > self.limit(name) > 0:
                yield name

    def _near(
        self, node: _Record | None, gained: Iterable[str], lost: Iterable[str]
    ) -> tuple[dict[_Record, None], dict[str, tuple[int, int]]]:
        """Return at which other records links begin or end, and which identifiers are over their limit."""
        near: dict[_Record, None] = {}
        shared: dict[str, tuple[int, int]] = {}
        for identifiers, step in ((gained, 1), (lost, -1)):
            for identifier in identifiers:
                holders: Collection[_Record] = self._links.get(identifier, _NOBODY)
                old, limit = len(holders), self.limit(identifier)
                new = old + step
                if not limit:
                    continue
                if max(old, new) > limit:
                    shared[identifier] = (old, new)
                if min(old, new) > limit:
                    continue
                others = (holder for holder in holders if holder is not node)
                if max(old, new) > limit:
                    near.update(dict.fromkeys(others))
                elif (one := next(others, None)) is not None:
                    near[one] = None
        return near, shared

    def _write(
        self, node: _Record | None, record: str, gained: Iterable[str], lost: Iterable[str], since: int
    ) -> _Record:
        if node is None:
            node = self._records[record] = _Record(record, since)
            self._graph.add_node(node)
        node.since = since
        for identifier in gained:
            self._graph.add_edge(node, identifier)
        for identifier in lost:
            self._graph.remove_edge(node, identifier)
        self._drop_bare(lost)
        return node

    def _remove(self, node: _Record, lost: Iterable[str]) -> None:
        self._graph.remove_node(node)
        del self._records[node.key]
        self._drop_bare(lost)

    def _drop_bare(self, identifiers: Iterable[str]) -> None:
        for identifier in identifiers:
            if not self._links[identifier]:
                self._graph.remove_node(identifier)

    def _regrouped(
        self, node: _Record | None, near: Iterable[_Record], before: dict[str, _Person], gone: _Record | None
    ) -> dict[str, _Person]:
        """Return the persons that take the place of `before`, which is completed as more of them turn up."""
        after: dict[str, _Person] = {}
        if not near and node is not None:
            # No link to another record has begun or ended: the person has the records that it had.
            old = before.get(node.person)
            records, held = ((node,), ()) if old is None else (old.records, old.held)
            return dict([self._person(records, held, before)])
        waiting = [] if node is None else [node]
        for old in before.values():
            waiting += [record for record in old.records if record is not gone]
        covered: set[_Record] = set()
        for record in waiting:
            if record in covered:
                continue
            found, depth = self._find(record)
            covered.update(found)
            for other in found:
                if other.person and other.person not in before:
                    # It was a part of what was too large, and is whole again, with all that it was made of.
                    before[other.person] = self._persons[other.person]
            id_, person = self._person(found, self._held[depth], before)
            after[id_] = person
        return after

    def _find(self, start: _Record) -> tuple[Collection[_Record], int]:
        """Return the records of the person of `start`, and how many types link them."""
        for depth in range(len(self._linking) - 1, 0, -1):
            found = self._component(start, self._linking[depth])
            if found is not None:
                return found, depth
        return (start,), 0

    def _component(self, start: _Record, linking: dict[str, int]) -> list[_Record] | None:
        """Return the records linked with `start`, None as soon as there are too many for a person."""
        links, most = self._links, self._person_limit
        found, queue, seen = {start}, [start], set[str]()
        visited = 1
        for record in queue:
            for identifier in links[record]:
                if identifier in seen:
                    continue
                seen.add(identifier)
                visited += 1
                holders = links[identifier]
                if len(holders) == 1 or len(holders) > linking.get(type_of(identifier), 0):
                    continue
                visited += len(holders)
                for holder in holders:
                    if holder not in found:
                        found.add(holder)
                        queue.append(holder)
                        if len(queue) > most:
                            self.visited += visited
                            return None
        self.visited += visited
        return queue

    def _person(
        self, found: Collection[_Record], held: tuple[str, ...], before: dict[str, _Person]
    ) -> tuple[str, _Person]:
        first = min(found, key=_age)
        old = before.get(first.person)
        same = old is not None and old.records[0] is first
        id_ = first.person if same else person_id(self.realm, first.key)
        return id_, _Person((first, *(record for record in found if record is not first)), held)

    def _put(self, id_: str, person: _Person) -> None:
        self._persons[id_] = person
        for record in person.records:
            record.person = id_

    def _moved(
        self,
        before: dict[str, _Person],
        after: dict[str, _Person],
        gone: _Record | None,
        shared: dict[str, tuple[int, int]],
    ) -> Moves:
        moved = [] if gone is None else [Move(gone.key, gone.person, "")]
        for id_ in before:
            del self._persons[id_]
        for id_, person in after.items():
            for record in person.records:
                if record.person != id_ or before[id_].held != person.held:
                    moved.append(Move(record.key, record.person, id_))
            self._put(id_, person)
        return Moves(moved, frozenset(before), frozenset(after), shared)


def _age(record: _Record) -> tuple[int, str]:
    return record.since, record.key
