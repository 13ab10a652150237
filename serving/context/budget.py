"""Which pieces go into the block, and in which order: the most useful that fit, never more than the budget.

What is most useful goes by the candidates' scores, which are of one scale over all kinds. So that no kind pushes out
the others, the best of each kind comes first, then all by score as long as their kind has not had its share, and only
then, with what is left, by score alone. What does not fit then is cut at the end of a sentence or line, if more than
half of it stays; else it is left out. A pure function of its arguments.

Tokens do not add up: a tokenizer may see other words where two texts meet. So the sizes of the pieces only choose; what
holds is the count of the whole block, from which the least useful go until it fits.

The block has the most useful first, and last the conversation so far in its order, next to the question that follows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from events.context import KINDS, ItemKind
from serving.context.block import Shown, block, head, piece
from serving.context.tokens import Tokenizer

SHARES: dict[ItemKind, float] = {"profile": 0.2, "activity": 0.15, "row": 0.35, "chunk": 0.35, "turn": 0.2}
"""Of the room, how much a kind may fill while others wait."""

_CHARS_A_TOKEN = 32
"""No text has more, as far as anybody would miss it: longer ones cannot fit, and are not counted."""
_NUMBER = 88
"""Of two digits, as most numbers of items have at most: they are given only when all are chosen."""
_SMALLEST = 8
"""Tokens; less than this is not worth a cut."""
_END = re.compile("(?<=[.!?\u2026])(?=\\s)|(?<=[\u3002\uff01\uff1f])|(?=\\n)")
"""Ends of sentences, also Chinese and Japanese ones, and of lines."""


class Packed(msgspec.Struct, frozen=True):
    """What goes into a context.

    :arg items: With the tokens that each adds, in the order of the block.
    :arg tokens: Of the whole block.
    :arg left_out: By kind, how many had no room.
    """

    items: tuple[tuple[Shown, int], ...]
    block: str
    tokens: int
    left_out: dict[ItemKind, int]


class _Entry(NamedTuple):
    """A candidate in the making of the block.

    :arg place: Among the candidates.
    :arg cost: Tokens of its piece.
    """

    place: int
    shown: Shown
    cost: int = 0

    @property
    def kind(self) -> ItemKind:
        return self.shown.candidate.kind


def pack(candidates: Sequence[Shown], budget: int, tokenizer: Tokenizer, now: int) -> Packed:
    """Return the most useful of the candidates whose block has at most `budget` tokens.

    :arg candidates: Turns in their order, the others in any. Of pieces of documents with the same text one counts.
    :arg now: When the context is assembled: ages count from there.
    """
    found = _distinct(sorted((_Entry(place, one) for place, one in enumerate(candidates) if one.text), key=_rank))
    sequence = _countable(_best_of_each_first(found), budget)
    first, *costs = tokenizer.count([head(now), *(_piece(_NUMBER, entry, now) for entry in sequence)])
    sized = [entry._replace(cost=max(1, cost)) for entry, cost in zip(sequence, costs, strict=True)]
    chosen = _chosen(sized, budget - first, tokenizer, now)
    text, tokens = _fitted(chosen, budget, tokenizer, now)
    items = tuple((entry.shown, entry.cost) for entry in _ordered(chosen))
    return Packed(items, text, tokens, _left_out(found, chosen))


def _rank(entry: _Entry) -> tuple[float, int, str, int]:
    candidate = entry.shown.candidate
    return -candidate.score, KINDS.index(candidate.kind), candidate.id, entry.place


def _distinct(ranked: Iterable[_Entry]) -> list[_Entry]:
    seen: set[str] = set()
    found = []
    for entry in ranked:
        if entry.kind == "chunk":
            folded = " ".join(entry.shown.text.casefold().split())
            if folded in seen:
                continue
            seen.add(folded)
        found.append(entry)
    return found


def _best_of_each_first(ranked: Sequence[_Entry]) -> list[_Entry]:
    best: dict[ItemKind, _Entry] = {}
    for entry in ranked:
        best.setdefault(entry.kind, entry)
    return [*best.values(), *(entry for entry in ranked if entry is not best[entry.kind])]


def _countable(sequence: Iterable[_Entry], budget: int) -> list[_Entry]:
    """Return those that are worth counting: so many texts, and none so long, that more could not fit."""
    most = budget * _CHARS_A_TOKEN
    found, chars = [], 0
    for entry in sequence:
        length = len(entry.shown.text)
        if length <= most and chars <= 2 * most:
            chars += length
            found.append(entry)
    return found


def _chosen(sequence: Sequence[_Entry], room: int, tokenizer: Tokenizer, now: int) -> list[_Entry]:
    """Return what fits, the most useful first."""
    left, used = room, dict.fromkeys(KINDS, 0)
    chosen: list[_Entry] = []
    waiting: list[_Entry] = []
    for entry in sequence:
        if entry.cost <= left and used[entry.kind] + entry.cost <= SHARES[entry.kind] * room:
            chosen.append(entry)
            left -= entry.cost
            used[entry.kind] += entry.cost
        else:
            waiting.append(entry)
    for entry in sorted(waiting, key=_rank):
        fitting = entry if entry.cost <= left else _cut(entry, left, tokenizer, now)
        if fitting is not None:
            chosen.append(fitting)
            left -= fitting.cost
    return chosen


def _cut(entry: _Entry, room: int, tokenizer: Tokenizer, now: int) -> _Entry | None:
    """Return the item with the beginning of its text, if more than half of that fits into `room` tokens."""
    if room < _SMALLEST or entry.cost > 2 * room:
        return None
    text = entry.shown.text
    spans = tokenizer.spans(text)
    # One token for what says that more follows, one for what may come of the new end.
    allowed = room - max(0, entry.cost - len(spans)) - 2
    if not 0 < allowed < len(spans):
        return None
    limit = spans[allowed - 1][1]
    end = max((found.start() for found in _END.finditer(text, 0, limit + 1) if found.start() <= limit), default=0)
    if 2 * end <= len(text):
        return None
    cut = msgspec.structs.replace(entry.shown, text=f"{text[:end].rstrip()} …")
    [cost] = tokenizer.count([_piece(_NUMBER, entry._replace(shown=cut), now)])
    return entry._replace(shown=cut, cost=cost) if cost <= room else None


def _fitted(chosen: list[_Entry], budget: int, tokenizer: Tokenizer, now: int) -> tuple[str, int]:
    """Return the block and its tokens; take the least useful out of `chosen` until that is within the budget."""
    while chosen:
        pieces = [piece(number, entry.shown, now) for number, entry in enumerate(_ordered(chosen), 1)]
        text = block(now, pieces)
        [tokens] = tokenizer.count([text])
        if tokens <= budget:
            return text, tokens
        over = tokens - budget
        while chosen and over > 0:
            over -= chosen.pop().cost
    return "", 0


def _ordered(chosen: Iterable[_Entry]) -> list[_Entry]:
    return sorted(chosen, key=lambda entry: (1, entry.place) if entry.kind == "turn" else (0, *_rank(entry)))


def _left_out(found: Iterable[_Entry], chosen: Iterable[_Entry]) -> dict[ItemKind, int]:
    stayed = {entry.place for entry in chosen}
    counts = Counter(entry.kind for entry in found if entry.place not in stayed)
    return {kind: counts[kind] for kind in KINDS if counts[kind]}


def _piece(number: int, entry: _Entry, now: int) -> str:
    # With the line's end before it, as it stands in the block.
    return "\n" + piece(number, entry.shown, now)
