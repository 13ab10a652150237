"""Why two things are of one person, step by step; or what keeps them apart.

Only what is in the newest rows counts. What is merely alike is not mentioned: near misses are guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

from events.changes import Row, position_text
from events.errors import HeadraceError
from events.persons import Member, type_of
from serving.freshness import Demand
from serving.leads import Lead, over_limit
from serving.lookups import Lookup, as_typed, listed
from serving.person_graph import Node, PersonGraph, graph_of, identifier, path, record, state_of
from serving.printable import shown
from serving.profiles import Profiles
from serving.ties import held_of

if TYPE_CHECKING:
    from operators.identity.extract import Found as Extracted

_TRIES = 3


class Carried(msgspec.Struct, frozen=True):
    """That a record carries an identifier. Times are in milliseconds since epoch.

    :arg columns: Where; empty if its newest row is not at hand, or has it no longer.
    :arg text: What stands there.
    :arg as_of: Event time of the row's newest change; None without a row.
    """

    record: str
    identifier: str
    columns: tuple[str, ...] = ()
    text: str = ""
    position: str = ""
    as_of: int | None = None
    applied_at: int | None = None


Kind = Literal["shared", "held", "refused", "realm", "deleted", "unresolved", "nothing"]


class Reason(msgspec.Struct, frozen=True):
    """One thing that keeps two others apart.

    :arg kind: `shared`: an identifier of both is over its limit. `held`: its type is held back. `refused`: both hold
        the same value, which is no identifier. `realm`, `deleted`, `unresolved`: what the one or the other is.
    :arg said: The same for people, in one sentence.
    :arg carried: Who carries the identifier, on either side.
    """

    kind: Kind
    said: str
    identifier: str = ""
    carried: tuple[Carried, ...] = ()


class Explanation(msgspec.Struct, frozen=True):
    """The answer.

    :arg a: What the first look-up leads to.
    :arg persons: The persons that both are of; one if they are together.
    :arg realm: The realm of the first.
    :arg path: Steps from a record to an identifier that it carries or the other way, when they are together.
    :arg reasons: What keeps them apart, when they are.
    """

    a: Node
    b: Node
    together: bool
    persons: tuple[str, ...]
    realm: str
    path: tuple[Carried, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def nodes(self) -> list[Node]:
        """What the path touches, or else the two things themselves."""
        records = [record(step.record) for step in self.path]
        return [self.a, self.b, *records, *(identifier(step.identifier, self.realm) for step in self.path)]


def explain(profiles: Profiles, a: Lookup, b: Lookup, demand: Demand | None = None) -> Explanation:
    """Tell why `a` and `b` are of one person, or what keeps them apart.

    :arg demand: How fresh the store must be; waits for it.
    :raises NobodyError: When one of them is unknown.
    :raises HeadraceError: When one of them can be several things.
    :raises StaleError: When the store does not become as fresh as demanded.
    """
    if demand is not None:
        profiles.await_fresh(demand)
    for _ in range(_TRIES):
        found = _Explainer(profiles).explain(_lead(profiles, a), _lead(profiles, b))
        if found is not None:
            return found
    detail = f"the links between {as_typed(a)} and {as_typed(b)} are being changed"
    raise HeadraceError(detail, "ask again")


def _lead(profiles: Profiles, lookup: Lookup) -> Lead:
    leads = profiles.look_up(lookup)
    if len(leads) > 1:
        names = listed([f"{lead.node.name} (realm {lead.realm})" for lead in leads])
        detail = f"{as_typed(lookup)} can be {len(leads)} things: {names}"
        raise HeadraceError(detail, "name one of them, or give --realm")
    if leads:
        return leads[0]
    raise profiles.unknown(lookup)


class _Explainer:
    """One explanation: reads what it needs once."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles
        self._types = [one.type for one in profiles.settings.profiles.identifiers]
        self._limit = profiles.settings.profiles.person_limit
        self._shared = profiles.shared()
        self._read: dict[str, tuple[Carried, Row, Extracted] | None] = {}

    def explain(self, a: Lead, b: Lead) -> Explanation | None:
        """Return the explanation; None when the store changes meanwhile."""
        persons = tuple(dict.fromkeys((*a.persons, *b.persons)))
        if len(persons) == 1 and a.persons == b.persons:
            steps = self._steps(persons[0], a.node, b.node)
            return None if steps is None else Explanation(a.node, b.node, True, persons, a.realm, steps)
        return Explanation(a.node, b.node, False, persons, a.realm, (), tuple(self._reasons(a, b)))

    def _steps(self, person: str, a: Node, b: Node) -> tuple[Carried, ...] | None:
        graph = graph_of(self._profiles.members(person), self._shared)
        found = path(graph, a, b, self._types)
        if not found:
            return None
        pairs = [(one, other) if one.kind == "record" else (other, one) for one, other in pairwise(found)]
        return tuple(self._carried(carrier.name, carried.name) for carrier, carried in pairs)

    def _reasons(self, a: Lead, b: Lead) -> list[Reason]:
        alone = [reason for lead in dict.fromkeys((a, b)) for reason in self._alone(lead)]
        if a.realm != b.realm:
            said = f"they are of different realms, {a.realm} and {b.realm}: identifiers link within one only"
            alone.append(Reason("realm", said))
        if any(reason.kind in {"deleted", "unresolved", "realm"} for reason in alone):
            return alone
        ours, theirs = self._members(a), self._members(b)
        reasons = alone + [
            r for r in self._common(ours, theirs) if r.identifier not in {one.identifier for one in alone}
        ]
        reasons += self._refused(ours, theirs)
        if not reasons:
            reasons.append(Reason("nothing", "they have no identifier in common"))
        held = sorted({*held_of(ours), *held_of(theirs)}, key=self._rank)
        if held and not any(reason.kind == "held" for reason in reasons):
            said = (
                f"links by {', '.join(held)} are held back, as the person would be larger than {self._limit:,} records"
            )
            reasons.append(Reason("held", said))
        return reasons

    def _alone(self, lead: Lead) -> list[Reason]:
        """Return why a thing is of nobody, or of several persons."""
        name = lead.node.name
        if lead.shared is not None:
            return [Reason("shared", f"{over_limit(lead.shared)}: it links nothing", name)]
        if lead.deleted_at is not None:
            return [Reason("deleted", self._profiles.deletion(lead))]
        if not lead.persons:
            return [Reason("unresolved", f"{name} is of nobody yet")]
        if len(lead.persons) > 1:
            said = f"{name} leads to {len(lead.persons)} persons: links by {type_of(name)} are held back, as the person"
            return [Reason("held", f"{said} would be larger than {self._limit:,} records", name)]
        return []

    def _members(self, lead: Lead) -> list[Member]:
        return [member for person in lead.persons for member in self._profiles.members(person)]

    def _common(self, ours: Sequence[Member], theirs: Sequence[Member]) -> list[Reason]:
        """Return why identifiers that both sides carry do not link them."""
        left, right = graph_of(ours, self._shared), graph_of(theirs, self._shared)
        common = [node for node in left if node.kind == "identifier" and node in right]
        reasons = []
        for node in sorted(common, key=lambda node: (self._rank(type_of(node.name)), node.name)):
            carried = tuple(self._one_of(graph, node) for graph in (left, right))
            shared = self._shared.get((ours[0].realm, node.name))
            held = any(state_of(graph, node, other) == "held" for graph in (left, right) for other in graph[node])
            if shared is not None:
                reasons.append(Reason("shared", f"{over_limit(shared)}: it links nothing", node.name, carried))
            elif held:
                said = f"{node.name} is held back, as the person would be larger than {self._limit:,} records"
                reasons.append(Reason("held", said, node.name, carried))
        return reasons

    def _one_of(self, graph: PersonGraph, node: Node) -> Carried:
        return self._carried(min(graph[node]).name, node.name)

    def _refused(self, ours: Sequence[Member], theirs: Sequence[Member]) -> list[Reason]:
        """Return the values that both sides hold and that are no identifiers."""
        left, right = self._refusals(ours), self._refusals(theirs)
        reasons = []
        for type_, text in sorted(left.keys() & right.keys(), key=lambda found: (self._rank(found[0]), found[1])):
            why, carried = left[type_, text]
            said = f"both hold {text!r} for {type_}, which does not count: {why}"
            reasons.append(Reason("refused", said, "", (carried, right[type_, text][1])))
        return reasons

    def _refusals(self, members: Sequence[Member]) -> dict[tuple[str, str], tuple[str, Carried]]:
        found: dict[tuple[str, str], tuple[str, Carried]] = {}
        for member in members:
            read = self._row(member.record)
            if read is None:
                continue
            row, _, extracted = read
            for refusal in extracted.refused:
                carried = msgspec.structs.replace(row, columns=refusal.columns, text=refusal.text)
                text = " ".join(refusal.text.split()).casefold()
                if text:
                    found.setdefault((refusal.type, text), (refusal.reason, carried))
        return found

    def _carried(self, key: str, name: str) -> Carried:
        read = self._row(key)
        if read is None:
            return Carried(key, name)
        row, image, extracted = read
        columns = next((one.columns for one in extracted.identifiers if one.identifier == name), ())
        text = " ".join(shown(image[column]) for column in columns if image.get(column) is not None)
        return msgspec.structs.replace(row, identifier=name, columns=columns, text=text)

    def _row(self, key: str) -> tuple[Carried, Row, Extracted] | None:
        """Return where a record's newest row is from, the row, and what it carries."""
        if key not in self._read:
            self._read[key] = self._fresh(key)
        return self._read[key]

    def _fresh(self, key: str) -> tuple[Carried, Row, Extracted] | None:
        leads = self._profiles.leads
        name = leads.name(key)
        row = None if name is None else leads.row(name)
        if name is None or row is None or row.image is None:
            return None
        position = position_text(row.standing.position)
        carried = Carried(key, "", (), "", position, row.as_of, row.applied_at)
        return carried, row.image, leads.extractor.found(name.table.name, row.image)

    def _rank(self, type_: str) -> int:
        return self._types.index(type_) if type_ in self._types else len(self._types)
