"""An answer without a model: what the items of the context say about the question, in their own words, each cited.

Invariant: nothing is said that no item says, but what is past, what speaks against it, what may be out of date, and
that it is put together. Where no item says enough about the question, the answer is that nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from events.context import Context, ContextItem, Superseded
from serving.answer.citations import citation, unmarked
from serving.answer.parts import Citation
from serving.answer.passages import Passage, first_passages, shortened
from serving.answer.ranking import Ranking, Weight
from serving.answer.words import stems
from serving.printable import in_short, moment
from serving.render import span

MOST = 6
"""Passages of an answer."""
_ENOUGH = 0.57
_ENOUGH_WORDS, _ENOUGH_OF_ONE = 0.2, 0.6
"""Of meaning and half of the words; and of words alone: of several, or of one. Measured on the fixtures' questions, and
on others that the fixtures say nothing about."""
_HALF = 0.5
_BONUS_OF_ROW, _BONUS_OF_ONESELF = 0.25, 0.4
"""For rows, as far as they have the question's words: they were looked up by some of them. And for what is known of the
person, where the question is about whoever asks."""
_ONESELF = re.compile(
    r"\b(i|my|mine|me|ich|mein\w{0,2}|mir|mich|je|mon|ma|mes|moi|mi|mis|mio|mia|miei|mie)\b", re.IGNORECASE
)
_WORDS, _RANK = 0.45, 0.2
"""What its own words, and its place in the context, count beside the meaning."""
_SHARE_OF_BEST, _SHARE_BY_WORDS = 0.72, 0.6
_ALIKE = 0.8
_MOST_ROWS = 3
_MOST_SUPERSEDED = 3

NOTHING = "Nothing is known here that answers this question."
BY_ITSELF = "Put together from the sources, without a language model."
DEGRADED = "Put together from the sources, as no language model has answered."


class Extract(NamedTuple):
    """An answer put together, by lines that each end with their citation."""

    text: str
    citations: tuple[Citation, ...]


class _Scored(NamedTuple):
    score: float
    weight: Weight
    passage: Passage
    item: ContextItem
    stems: frozenset[str]


_UNTIL = re.compile(r".{1,300}? was .{0,500}? until \d{4}-\d\d-\d\d[ \d:]{0,10} UTC, is ")


def extract(context: Context, ranking: Ranking, *, degraded: bool = False) -> Extract:
    """Answer the question of a context from the context.

    :arg degraded: Whether a model was to answer, and has not.
    """
    groups = _grouped(_chosen(_scored(context, ranking)))
    lines = [_line(group, context.at) for group in groups] or [NOTHING]
    text = "\n".join([*lines, "", DEGRADED if degraded else BY_ITSELF])
    return Extract(text, tuple(citation(group[0].item) for group in groups))


def _scored(context: Context, ranking: Ranking) -> list[_Scored]:
    items = {item.number: item for item in context.items if item.kind != "turn"}
    found = first_passages(items.values())
    weights = ranking.weigh(context.question, found)
    is_of_oneself = _ONESELF.search(context.question) is not None
    bonuses = [
        _bonus(items[passage.number], weight, is_of_oneself) for passage, weight in zip(found, weights, strict=True)
    ]
    if not any(bonuses) and not any(map(_says_enough, weights)):
        return []
    scored = []
    for passage, weight, bonus in zip(found, weights, bonuses, strict=True):
        item = items[passage.number]
        meaning = weight.words if weight.meaning is None else weight.meaning
        score = meaning + _WORDS * weight.own + _RANK * item.score + bonus
        scored.append(_Scored(score, weight, passage, item, frozenset(stems(passage.text))))
    ordered = sorted(scored, key=lambda one: (-one.score, one.item.number, one.passage.at))
    return _one_view_of_tables(ordered)


def _bonus(item: ContextItem, weight: Weight, is_of_oneself: bool) -> float:
    if item.kind == "row":
        return _BONUS_OF_ROW * min(1.0, weight.words / _HALF)
    return _BONUS_OF_ONESELF if weight.shared and is_of_oneself and item.kind in {"profile", "activity"} else 0.0


def _says_enough(weight: Weight) -> bool:
    if weight.meaning is None:
        return weight.words >= (_ENOUGH_WORDS if weight.shared > 1 else _ENOUGH_OF_ONE)
    return weight.meaning + _HALF * weight.words >= _ENOUGH


def _one_view_of_tables(scored: Sequence[_Scored]) -> list[_Scored]:
    """Keep of each table either the few rows that the question names, or the table as a whole."""
    rows: dict[tuple[int, int], list[_Scored]] = {}
    wholes = {(one.item.number, one.passage.at) for one in scored if one.passage.whole}
    for one in scored:
        if one.passage.table >= 0:
            rows.setdefault((one.item.number, one.passage.table), []).append(one)
    kept: set[tuple[int, int]] = set()
    for (number, table), those in rows.items():
        most = max(one.weight.own for one in those)
        named = [one for one in those if one.weight.own == most]
        if (number, table) not in wholes or len(named) <= min(_MOST_ROWS, len(those) // 2):
            kept |= {(number, one.passage.at) for one in named[:_MOST_ROWS]}
            wholes.discard((number, table))
    return [
        one
        for one in scored
        if (one.item.number, one.passage.at) in kept | wholes or not (one.passage.whole or one.passage.table >= 0)
    ]


def _chosen(scored: Sequence[_Scored]) -> list[_Scored]:
    by_place = {(one.item.number, one.passage.at): one for one in scored}
    chosen: list[_Scored] = []
    for one in scored:
        if one.score < (_SHARE_BY_WORDS if one.weight.meaning is None else _SHARE_OF_BEST) * scored[0].score:
            break
        # What speaks of the sentence before it is understood with that one only.
        before = by_place.get((one.item.number, one.passage.at - 1)) if one.passage.leans else None
        for each in filter(None, (before, one)):
            if len(chosen) < MOST and not any(_says_the_same(each, other) for other in chosen):
                chosen.append(each)
    return chosen


def _says_the_same(one: _Scored, other: _Scored) -> bool:
    if one.passage == other.passage:
        return True
    both = one.stems | other.stems
    return bool(both) and len(one.stems & other.stems) >= _ALIKE * len(both)


def _grouped(chosen: Iterable[_Scored]) -> list[list[_Scored]]:
    """Return what is said of each item together, in its own order; the item with the best comes first."""
    groups: dict[int, list[_Scored]] = {}
    for one in chosen:
        groups.setdefault(one.item.number, []).append(one)
    return [sorted(group, key=lambda one: one.passage.at) for group in groups.values()]


def _line(group: Sequence[_Scored], now: int) -> str:
    item = group[0].item
    # A row's own text tells what was until lately as well: once is enough.
    present = [one for one in group if not (item.superseded and _UNTIL.match(one.passage.text))]
    said = " ".join(_ended(unmarked(shortened(one.passage.text))) for one in present or group)
    past = "".join(f" ({_past(one, now)})" for one in item.superseded[:_MOST_SUPERSEDED]) if present else ""
    warned = f" ({unmarked(item.warning)})" if item.warning else ""
    return f"{said}{past}{warned}{_doubt(item)} [{item.number}]"


def _ended(text: str) -> str:
    return text if text[-1:] in ".!?…:;。" else f"{text}."


def _past(one: Superseded, now: int) -> str:
    before = "empty" if one.was is None else unmarked(in_short(one.was))
    until = moment(one.until).removeprefix(f"{moment(now)[:10]} ")
    return f"{one.column} was {before} until {until.removesuffix(until[-3:]) if ':' in until else until} UTC"


def _doubt(item: ContextItem) -> str:
    if not item.stale:
        return ""
    if item.lag is None:
        return " (may be out of date: it cannot be told when it was confirmed last)"
    return f" (may be out of date: confirmed last {span(item.lag)} ago)"
