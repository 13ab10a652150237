"""Preference pairs: two answers to the same prompt, of which people liked one and not the other.

Each answer is in one pair at most, so that no loud question drowns the others. What several people think of the same
answer to the same prompt counts together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from serving.finetune.lines import Scrubbed
from serving.finetune.near import normalised
from serving.finetune.scrub import renumbered

Better: TypeAlias = "Callable[[float, float], bool]"


class Pair(msgspec.Struct, frozen=True):
    """A better and a worse answer.

    :arg prompt: The one of them whose prompt both answer.
    """

    prompt: Scrubbed
    chosen: Scrubbed
    rejected: Scrubbed

    @property
    def text(self) -> str:
        """All of it, as it is compared with others."""
        return "\n".join([*self.prompt.prompt, *renumbered([self.chosen.text, self.rejected.text])])

    @property
    def exchanges(self) -> list[str]:
        """Everything that it teaches, as exchanges."""
        return [*self.prompt.exchanges[:-1], self.chosen.said, self.rejected.said]


class _Opinion(msgspec.Struct, frozen=True):
    """An answer, and what all who rated it think of it."""

    score: float
    one: Scrubbed


def pairs(
    answers: Iterable[Scrubbed],
    *,
    min_rating: float,
    least_gap: float,
    prompts: Callable[[Scrubbed], bool] = lambda one: True,
) -> list[Pair]:
    """Return the pairs of answers that people rated themselves; always the same, in an order of their own.

    :arg min_rating: Of the better one; the worse one has less.
    :arg least_gap: By which they differ at least.
    :arg prompts: Tells whether what stands before an answer may be a prompt.
    """

    def better(high: float, low: float) -> bool:
        # Scores are quotients of small numbers: what is equal on paper must be so here.
        return high >= min_rating > low and high - low >= least_gap - 1e-9

    by_prompt: dict[tuple[str, ...], list[Scrubbed]] = defaultdict(list)
    by_conversation: dict[str, list[Scrubbed]] = defaultdict(list)
    for one in sorted(answers, key=lambda one: one.key):
        if prompts(one):
            by_prompt[one.prompt].append(one)
        by_conversation[one.answer.conversation].append(one)
    found: list[Pair] = []
    for same in by_prompt.values():
        opinions = _opinions(same)
        good = sorted(opinions, key=lambda opinion: (-opinion.score, opinion.one.key))
        bad = sorted(opinions, key=lambda opinion: (opinion.score, opinion.one.key))
        for high, low in zip(good, bad, strict=True):
            if not better(high.score, low.score):
                break
            found.append(Pair(high.one, high.one, low.one))
    paired = {id(one) for pair in found for one in (pair.chosen, pair.rejected)}
    for same in by_conversation.values():
        found += _asked_again([one for one in same if id(one) not in paired], better, prompts)
    return sorted(found, key=lambda pair: (pair.chosen.key, pair.rejected.key))


def _opinions(same: Sequence[Scrubbed]) -> list[_Opinion]:
    by_text: dict[str, list[Scrubbed]] = defaultdict(list)
    for one in same:
        by_text[normalised("\n".join(renumbered([one.question, one.text])))].append(one)
    return [_Opinion(math.fsum(one.score for one in ones) / len(ones), ones[0]) for ones in by_text.values()]


def _asked_again(conversation: Sequence[Scrubbed], better: Better, prompts: Callable[[Scrubbed], bool]) -> list[Pair]:
    """Return pairs of a bad answer and the good one that came when the same was asked again."""
    waiting: dict[str, Scrubbed] = {}
    found: list[Pair] = []
    for one in conversation:
        question = normalised(one.question)
        before = waiting.pop(question, None)
        other = before is not None and normalised(one.text) != normalised(before.text)
        if before is not None and other and better(one.score, before.score) and prompts(before):
            found.append(Pair(before, one, before))
        else:
            waiting[question] = one
    return found
