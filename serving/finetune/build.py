"""From the lake to the lines of all files: a function of one commit of the lake and the settings.

First everybody is noted, then consent is looked at, so that who takes it back in the last conversation is in no line.
Only then are texts scrubbed, given a side, and compared: what is left out of training leaves nothing in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from serving.finetune.answers import Answer, answers_of
from serving.finetune.known import KnownPersons
from serving.finetune.lines import Form, Line, Scrubbed, chat_line, preference_line, scrubbed
from serving.finetune.near import Near, rarity
from serving.finetune.pairs import Pair, pairs
from serving.finetune.people import People, Side, side_of
from serving.finetune.scrub import Scrubber
from serving.finetune.selection import out_of_context, tainted, untaught, unusable
from stores.export_settings import ExportSettings
from stores.lake.rows import Objective

SIDES: tuple[Side, ...] = ("train", "validation")


class Span(NamedTuple):
    """Conversations that began since then and before then (ms since epoch); None: without a bound."""

    since: int | None = None
    until: int | None = None

    def has(self, moment: int) -> bool:
        """Tell whether a moment lies in it."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


class Built(msgspec.Struct):
    """The lines of all files, and what became of all others.

    :arg dropped: How many answers went into nothing (`answers`), and into no line of a form, by reason.
    :arg scrubbed: How many placeholders of each kind were put into texts that were looked at.
    :arg groups: How many groups of people there are on each side.
    :arg first: When the first conversation of which something is kept began (ms since epoch); None if nothing is.
    """

    lines: dict[tuple[Form, Side], list[Line]] = {}
    conversations: int = 0
    answers: int = 0
    dropped: dict[str, Counter[str]] = {}
    scrubbed: dict[str, int] = {}
    groups: dict[Side, int] = {}
    first: int | None = None
    last: int | None = None

    def count(self, form: Form) -> int:
        """Return how many lines of a form there are."""
        return sum(len(lines) for (of, _), lines in self.lines.items() if of == form)


def build(
    rows: Iterable[Mapping[str, Any]],
    rules: ExportSettings,
    forms: Sequence[Form],
    *,
    known: KnownPersons,
    objective: Objective,
    region: str = "",
    span: Span = Span(),  # noqa: B008  # immutable
    progress: Callable[[int], object] = lambda conversations: None,
) -> Built:
    """Return the lines that a lake yields.

    :arg rows: All conversations of the lake, as pyarrow's `to_pylist` returns them: consent is also taken back in those
        outside of `span`.
    :arg region: Country of telephone numbers without one.
    :arg progress: Told how many conversations have been looked at.
    """
    people = People(known.persons_of)
    built = Built(dropped={"answers": Counter(), **{form: Counter() for form in forms}})
    usable: list[tuple[Mapping[str, Any], list[Answer]]] = []
    for row in rows:
        people.note(row)
        built.conversations += 1
        progress(built.conversations)
        answers = _usable(answers_of(row, objective), rules, span, built)
        if answers:
            # Of the row only what tells of consent is needed later on.
            said = [{"time": turn["time"], "consent": turn["consent"]} for turn in row["turns"]]
            usable.append(({"consent": row["consent"], "persons": row["persons"], "turns": said}, answers))
    scrubber = Scrubber(rules, region)
    chat: dict[Side, list[Scrubbed]] = {side: [] for side in SIDES}
    rated: dict[Side, list[Scrubbed]] = {side: [] for side in SIDES}
    groups: dict[Side, set[str]] = {side: set() for side in SIDES}
    for row, answers in usable:
        reason = _refused(row, people, rules)
        if reason:
            built.dropped["answers"][reason] += len(answers)
            continue
        group = people.group(answers[0].conversation, answers[0].persons)
        side = side_of(group, rules.salt, rules.validation)
        judged = [(answer, _reasons(answer, rules, forms)) for answer in answers]
        clean = scrubber.conversation(known.of(answers[0].persons) if "known" in rules.scrub else ())
        for answer, reasons in judged:
            one = scrubbed(answer, clean, with_context=rules.with_context) if "" in reasons.values() else None
            for form, why in reasons.items():
                if why or one is None:
                    built.dropped[form][why] += 1
                else:
                    (chat if form == "chat" else rated)[side].append(one)
                    groups[side].add(group)
    built.groups = {side: len(groups[side]) for side in SIDES}
    built.scrubbed = dict(sorted(scrubber.counts.items()))
    _compose(chat, rated, rules, forms, built)
    return built


def _usable(answers: Sequence[Answer], rules: ExportSettings, span: Span, built: Built) -> list[Answer]:
    found = []
    built.answers += len(answers)
    for answer in answers:
        reason = unusable(answer, rules) if span.has(answer.begin) else "time"
        if reason:
            built.dropped["answers"][reason] += 1
        else:
            found.append(answer)
    return found


def _refused(row: Mapping[str, Any], people: People, rules: ExportSettings) -> str:
    if people.refused(row):
        return "consent_refused"
    return "consent_unknown" if row["consent"] is None and rules.consent == "given" else ""


def _reasons(answer: Answer, rules: ExportSettings, forms: Sequence[Form]) -> dict[Form, str]:
    """Return for each form why an answer is not in it; empty where it may be."""
    reasons: dict[Form, str] = {}
    if "chat" in forms:
        reasons["chat"] = untaught(answer, rules)
    if "preference" in forms:
        unrated = "" if answer.last.rated else "unrated"
        reasons["preference"] = unrated or out_of_context(answer.last, rules)
    return reasons


def _compose(
    chat: Mapping[Side, Sequence[Scrubbed]],
    rated: Mapping[Side, Sequence[Scrubbed]],
    rules: ExportSettings,
    forms: Sequence[Form],
    built: Built,
) -> None:
    answers = [one for by_side in (chat, rated) for side in SIDES for one in by_side[side]]
    known = rarity(one.said for one in answers) if rules.near_duplicates < 1 else {}

    def near() -> Near:
        return Near(rules.near_duplicates, known)

    trained = near()
    for side in SIDES:
        # Lines of both forms are compared with what both forms are trained on.
        taught: list[str] = []
        if "chat" in forms:
            lines = _distinct_lines(chat[side], near(), built, None if side == "train" else trained)
            built.lines["chat", side] = [chat_line(one) for one in lines]
            taught += [text for one in lines for text in one.exchanges]
            _widen(built, lines)
        if "preference" in forms:
            found = _distinct_pairs(rated[side], rules, near(), built, None if side == "train" else trained)
            built.lines["preference", side] = [preference_line(one.prompt, one.chosen, one.rejected) for one in found]
            taught += [text for one in found for text in one.exchanges]
            _widen(built, [part for one in found for part in (one.chosen, one.rejected)])
        for text in taught if side == "train" else ():
            trained.add(text)


def _distinct_lines(lines: Sequence[Scrubbed], seen: Near, built: Built, trained: Near | None) -> list[Scrubbed]:
    """Return those that no other one says, of those that do the best rated, in the order of their times."""
    kept = []
    for one in sorted(lines, key=lambda one: (-one.score, one.key)):
        reason = seen.has(one.said) or ("leak" if trained is not None and trained.has(one.said) else "")
        if reason:
            built.dropped["chat"][reason] += 1
        else:
            seen.add(one.said)
            kept.append(one)
    return sorted(kept, key=lambda one: one.key)


def _distinct_pairs(
    rated: Sequence[Scrubbed], rules: ExportSettings, seen: Near, built: Built, trained: Near | None
) -> list[Pair]:
    """Return the pairs that no other one is like; counts answers, two for each pair."""
    dropped = built.dropped["preference"]
    made = pairs(
        rated,
        min_rating=rules.min_rating,
        least_gap=rules.least_gap,
        prompts=lambda one: not tainted(one.answer, rules),
    )
    kept = []
    for one in made:
        leaks = trained is not None and any(map(trained.has, (one.chosen.said, one.rejected.said)))
        reason = seen.has(one.text) or ("leak" if leaks else "")
        if reason:
            dropped[reason] += 2
        else:
            seen.add(one.text)
            kept.append(one)
    dropped["unpaired"] += len(rated) - 2 * len(made)
    return kept


def _widen(built: Built, kept: Iterable[Scrubbed]) -> None:
    for one in kept:
        begin = one.answer.begin
        built.first = begin if built.first is None else min(built.first, begin)
        built.last = begin if built.last is None else max(built.last, begin)
