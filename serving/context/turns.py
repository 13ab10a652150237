"""The conversation so far: as the application hands it over, or as it is known here, and only to those it belongs to.

What was answered here is known at once, by whoever claimed the conversation. What came over the log is a person's if
one of its turns names that person and none another one; what names nobody is shown to nobody. When a turn that was
handed over was said is not known: none passes for fresh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from events.errors import HeadraceError, RejectedError, StoreError
from events.feedback import SPEAKING, Turn, stands_over
from serving.access.caller import Caller
from serving.context.candidate import Candidate
from serving.context.lags import HANDED, HERE
from serving.context.request import Said
from serving.errors import ForbiddenError
from serving.lookups import anything
from serving.profiles import Profiles
from stores.contexts.base import ContextStore, Holder
from stores.lake.turns import SaidTurns

LAKE = "lake"
NEWEST, STEP, LEAST = 0.6, 0.05, 0.2
"""Scores: of the newest turn, by how much each one before it is less, and of the oldest."""

_SPEAKERS: dict[str, str] = {"user": "the user said", "assistant": "the assistant said"}
"""Roles whose turns are shown. Instructions and calls of tools are the application's own business."""

PersonsOf = Callable[[str], "frozenset[str]"]
"""Returns the ids of the persons that a text names which an application has for one."""


class Conversation(NamedTuple):
    """Turns that the caller may see, in their order.

    :arg own: Ids of those that are known here at once; the others came over the log.
    """

    turns: list[Turn]
    own: frozenset[str]


def given(history: Sequence[Said], caller: Caller, conversation: str, most: int, now: int) -> list[Candidate]:
    """Return the last turns that the application has handed over.

    :arg now: When it has: they were said before, nobody knows how long.
    :raises RejectedError: When one has a role that there is not.
    """
    strange = sorted({said.role for said in history} - SPEAKING.keys())
    if strange:
        detail = f"{strange[0][:40]!r} is not the role of a turn"
        raise RejectedError(detail, f"use one of {', '.join(sorted(SPEAKING))}")
    spoken = [(number, said) for number, said in enumerate(history, 1) if said.role in _SPEAKERS and said.text.strip()]
    last = spoken[-most:] if most else []
    return [
        Candidate(
            kind="turn",
            id=f"{conversation}/{number}",
            store=HANDED,
            source=caller.key,
            place=conversation,
            title=_SPEAKERS[said.role],
            text=said.text,
            position=str(number),
            as_of=now,
            since=now,
            applied_at=now,
            score=_score(len(last) - place),
            data={"role": said.role},
        )
        for place, (number, said) in enumerate(last, 1)
    ]


def known(
    contexts: ContextStore,
    lake: SaidTurns | None,
    caller: Caller,
    conversation: str,
    *,
    most: int,
    persons_of: PersonsOf,
) -> Conversation:
    """Return the last turns of a conversation as it is known here.

    :arg lake: What came over the log; None if that is not kept.
    :raises ForbiddenError: When the conversation is somebody else's.
    """
    holder = contexts.holder(conversation)
    if holder is not None and not _is(holder, caller, persons_of):
        raise _foreign()
    turns = {turn.id: turn for turn in contexts.turns(conversation, most)} if holder is not None else {}
    own = frozenset(turns)
    for turn in _of_lake(lake, caller, persons_of):
        before = turns.get(turn.id)
        if before is None or stands_over(turn, before):
            turns[turn.id] = turn
    spoken = [turn for turn in turns.values() if turn.role in _SPEAKERS and turn.text.strip()]
    spoken.sort(key=lambda turn: (turn.time, SPEAKING[turn.role], turn.id))
    return Conversation(spoken[-most:] if most else [], own)


def told(conversation: Conversation, applied_at: int) -> list[Candidate]:
    """Return the turns as pieces of a context.

    :arg applied_at: When what came over the log was taken in last.
    """
    turns, own = conversation
    return [
        Candidate(
            kind="turn",
            id=f"{turn.conversation}/{turn.id}",
            store=HERE if turn.id in own else LAKE,
            source=turn.application or turn.conversation,
            place=turn.conversation,
            title=_SPEAKERS[turn.role],
            text=turn.text,
            position="",
            as_of=turn.time,
            since=turn.time,
            applied_at=turn.time if turn.id in own else max(turn.time, applied_at),
            score=_score(len(turns) - place),
            data=_beside(turn),
        )
        for place, turn in enumerate(turns, 1)
    ]


def check_said(lake: SaidTurns | None, caller: Caller, persons_of: PersonsOf) -> None:
    """Check that what came of a conversation over the log names nobody but the caller's person.

    :raises ForbiddenError: When it names somebody else.
    """
    mine = frozenset({caller.person})
    for person in sorted(_named(lake)):
        if not caller.person or (person != caller.person and persons_of(person) != mine):
            raise _foreign()


def persons_named(profiles: Profiles | None, text: str, realm: str) -> frozenset[str]:
    """Return the persons that a text leads to by which an application has named one.

    :raises StoreError: When that cannot be told at present.
    """
    if profiles is None:
        return frozenset()
    try:
        leads = profiles.look_up(anything(text, profiles.settings.profiles, realm))
    except StoreError:
        raise
    except HeadraceError:  # it names nobody
        return frozenset()
    return frozenset(person for lead in leads for person in lead.persons)


def _of_lake(lake: SaidTurns | None, caller: Caller, persons_of: PersonsOf) -> Sequence[Turn]:
    """Return the turns that came over the log if they are the caller's.

    :raises ForbiddenError: When they are somebody else's.
    """
    check_said(lake, caller, persons_of)
    return lake.turns if lake is not None and _named(lake) else ()


def _named(lake: SaidTurns | None) -> set[str]:
    return {turn.person for turn in lake.turns if turn.person} if lake is not None else set()


def _is(holder: Holder, caller: Caller, persons_of: PersonsOf) -> bool:
    if not holder.person or not caller.person:
        return (holder.person, holder.key) == (caller.person, caller.holding)
    same = holder.person == caller.person or persons_of(holder.person) == {caller.person}
    return same and holder.realm in {"", caller.realm}


def _foreign() -> ForbiddenError:
    detail = "this conversation is somebody else's"
    return ForbiddenError(detail, "begin another one, or ask for the person whose it is")


def _beside(turn: Turn) -> dict[str, str]:
    found: dict[str, str] = {"role": turn.role, "model": turn.model, "context": turn.context}
    return {name: value for name, value in found.items() if value}


def _score(before_newest: int) -> float:
    return max(LEAST, NEWEST - STEP * before_newest)
