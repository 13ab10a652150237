"""Resolve identities as a step of a dataflow: one graph per realm, kept in a journal beside the engine.

What the engine keeps is only where the journal stood when the epoch closed. Names of inner steps and the layout of the
state are a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic
from typing_extensions import override

from events.changes import Truncation
from events.erasure import Erasure
from events.errors import StoreError
from events.log import Mark
from events.persons import Links
from operators.identity.resolver import Resolved, Resolver

VERSION = 1
"""Layout of the state: version, realm, identity of the journal, sequence."""

Item: TypeAlias = Links | Truncation | Mark | Erasure
Items: TypeAlias = tuple[str, list[Item]]
"""Items of a realm with its name: the engine does not tell a logic what its key is."""
State: TypeAlias = tuple[int, str, str, int]
OpenResolver: TypeAlias = Callable[[str], Resolver]


class _RealmLogic(StatefulBatchLogic[Items, Resolved, State]):
    def __init__(self, open_resolver: OpenResolver, state: State | None) -> None:
        self._open = open_resolver
        self._ended = False
        self._started = None if state is None else (state[1], _resumed(open_resolver, state))

    @override
    def on_batch(self, values: list[Items]) -> tuple[Iterable[Resolved], bool]:
        if self._started is None:
            realm = values[0][0]
            self._started = realm, _started(self._open(realm), None)
        _, resolver = self._started
        return resolver.take(item for _, items in values for item in items), StatefulBatchLogic.RETAIN

    @override
    def on_eof(self) -> tuple[Iterable[Resolved], bool]:
        self._ended = True
        return (), StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> State:
        if self._started is None:
            message = "the engine asks for the state of a realm to which nothing has come"
            raise RuntimeError(message)
        realm, resolver = self._started
        state = (VERSION, realm, resolver.identity, resolver.close_epoch())
        if self._ended:
            # The engine never tells that all is over: the last it asks for is the state at the end.
            resolver.close()
        return state


def _started(resolver: Resolver, sequence: int | None) -> Resolver:
    try:
        resolver.start(sequence)
    except BaseException:
        resolver.close()
        raise
    return resolver


def _resumed(open_resolver: OpenResolver, state: State) -> Resolver:
    remedy = "remove the recovery folder of the flow: it then reads the log again, over what the journal holds"
    if state[0] != VERSION:
        detail = f"the recovery folder has identities of layout {state[0]}, this program reads {VERSION}"
        raise StoreError(detail, remedy)
    _, realm, identity, sequence = state
    resolver = open_resolver(realm)
    if identity != resolver.identity:
        resolver.close()
        detail = f"the recovery folder belongs to another identity journal of the realm {realm!r} than the one found"
        raise StoreError(detail, f"put the old journal back, or {remedy}")
    return _started(resolver, sequence)


def _by_realm(
    items: Iterable[Item], realms: Sequence[str], realm_of: Callable[[Truncation], str]
) -> list[tuple[str, Items]]:
    """Gather what each realm has to take, in its order. Marks go to all of them; erasures elsewhere concern none."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        if isinstance(item, Mark):
            for realm in realms:
                groups.setdefault(realm, []).append(item)
            continue
        realm_ = realm_of(item) if isinstance(item, Truncation) else item.realm
        if realm_ in realms or not isinstance(item, Erasure):
            groups.setdefault(realm_, []).append(item)
    return [(realm, (realm, group)) for realm, group in groups.items()]


@operator
def resolve(
    step_id: str,
    up: Stream[Item],
    realms: Sequence[str],
    realm_of: Callable[[Truncation], str],
    open_resolver: OpenResolver,
) -> Stream[Resolved]:
    """Tell of each record whose it is, wherever that changes.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Changes of identity rows with their links, truncations, marks and erasures. The events of one record come
        from one worker, in their order, unless they have positions.
    :arg realms: All realms: marks go to each of them. An erasure in a realm that is none of them is left out.
    :arg realm_of: Returns the realm of a truncated table.
    :arg open_resolver: Opens the resolver of a realm, with its journal; called once, on the worker that has it.
    :returns: The changes and truncations, and beside them what follows: members, events of persons, shared identifiers.
    """

    def shim_group(items: list[Item]) -> Iterable[tuple[str, Items]]:
        return _by_realm(items, realms, realm_of)

    def shim_builder(state: State | None) -> _RealmLogic:
        return _RealmLogic(open_resolver, state)

    # Lists cross between workers, not single items: each crossing costs the same.
    grouped: KeyedStream[Items] = op.flat_map_batch("group", up, shim_group)
    resolved = op.stateful_batch("resolve", grouped, shim_builder)
    return op.key_rm("unkey", resolved)
