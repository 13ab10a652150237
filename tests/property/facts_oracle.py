"""What facts must be, by plain set logic over all events at once: nothing sorted, nothing kept, nothing taken back."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from events.feedback import (
    Comment,
    FeedbackEvent,
    Judgement,
    Point,
    Rating,
    ShownContext,
    ShownItem,
    Turn,
    Verdict,
    kind_of,
    stands_over,
)

Row = dict[str, Any]
"""The fields of a fact that are known, and its time as `at`."""


def expected_facts(
    events: Iterable[FeedbackEvent | Judgement], horizon: int, objectives: dict[str, float], default: float
) -> dict[tuple[str, str], Row]:
    """Return the facts of these events, by kind and id."""
    said = list(events)
    judgements = [event for event in said if isinstance(event, Judgement)]
    standing: dict[tuple[str, str, str], FeedbackEvent] = {}
    for event in said:
        if not isinstance(event, Judgement):
            home = event.series if isinstance(event, Point) else event.conversation
            name = (kind_of(event), home, event.id)
            standing[name] = _standing(standing.get(name), event)
    found: dict[tuple[str, str], Row] = {}
    for home in {name[1] for name in standing}:
        events_here = [event for name, event in standing.items() if name[1] == home]
        world = _World(events_here, [j for j in judgements if j.conversation == home], horizon, objectives, default)
        for kind, id_, row in world.facts():
            found[kind, f"{home}/{id_}"] = {key: value for key, value in row.items() if value is not None}
    return found


def _standing(old: FeedbackEvent | None, event: FeedbackEvent) -> FeedbackEvent:
    if old is None or stands_over(event, old):
        return event
    if not stands_over(old, event) and isinstance(event, Comment) and isinstance(old, Comment) and event.verdict:
        return event if old.verdict is None or _ranked(event.verdict) > _ranked(old.verdict) else old
    return old


def _ranked(verdict: Verdict) -> tuple[str, tuple[str, ...], float]:
    return verdict.category, verdict.topics, verdict.confidence


class _World:
    def __init__(
        self,
        events: list[FeedbackEvent],
        judgements: list[Judgement],
        horizon: int,
        objectives: dict[str, float],
        default: float,
    ) -> None:
        self.turns = [event for event in events if isinstance(event, Turn)]
        self.ratings = [event for event in events if isinstance(event, Rating)]
        self.comments = [event for event in events if isinstance(event, Comment)]
        self.contexts = [event for event in events if isinstance(event, ShownContext)]
        self.points = [event for event in events if isinstance(event, Point)]
        self.judgements = judgements
        self.horizon = horizon
        self.objectives = objectives
        self.default = default

    def facts(self) -> Iterable[tuple[str, str, Row]]:
        for turn in self.turns:
            if turn.role == "user":
                row = self.about(turn)
                del row["model"]
                yield "questions", turn.id, {"at": turn.time, **row}
            elif turn.role == "assistant":
                yield "answers", turn.id, self.answer(turn)
        for rating in self.ratings:
            yield "ratings", rating.id, self.rating(rating)
        for comment in self.comments:
            yield "comments", comment.id, self.comment(comment)
        for context in self.contexts:
            for ordinal, item in enumerate(context.items):
                if item.source:
                    yield "contexts", f"{context.id}/{ordinal}", self.piece(context, item)
        for point in self.points:
            row = {"at": point.time, "name": point.name, "series": point.series, "value": point.value}
            yield "points", point.id, {**point.labels, **row}

    def near(self, time: int, other: int) -> bool:
        return -self.horizon <= time - other <= self.horizon

    def say(self, field: str, turn: Turn) -> str | None:
        if getattr(turn, field):
            return str(getattr(turn, field))
        return self.neighbours(field, turn.time, lambda other: (other.time, other.id) < (turn.time, turn.id))

    def neighbours(self, field: str, time: int, is_before: Any) -> str | None:
        saying = [turn for turn in self.turns if getattr(turn, field) and self.near(time, turn.time)]
        before = [turn for turn in saying if is_before(turn)]
        after = [turn for turn in saying if not is_before(turn)]
        if before:
            return str(getattr(max(before, key=_place), field))
        return str(getattr(min(after, key=_place), field)) if after else None

    def verdict(self, kind: str, id_: str, time: int) -> Verdict | None:
        of_it = [j.verdict for j in self.judgements if (j.kind, j.id, j.time) == (kind, id_, time)]
        return max(of_it, key=_ranked) if of_it else None

    def topic(self, turn: Turn) -> str | None:
        if turn.topic:
            return turn.topic
        if turn.role == "user":
            verdict = self.verdict("turn", turn.id, turn.time)
            return verdict.topics[0] if verdict and verdict.topics else None
        if turn.role != "assistant":
            return None
        questions = [
            other
            for other in self.turns
            if other.role == "user" and _place(other) < _place(turn) and self.near(turn.time, other.time)
        ]
        known = [question for question in questions if self.topic(question)]
        return self.topic(max(known, key=_place)) if known else None

    def about(self, turn: Turn) -> Row:
        return {
            "conversation": turn.conversation,
            "turn": turn.id,
            "application": self.say("application", turn),
            "model": turn.model or None,
            "language": self.say("language", turn),
            "topic": self.topic(turn),
            "person": self.say("person", turn),
        }

    def shown(self, turn: Turn) -> ShownContext | None:
        named = [context for context in self.contexts if turn.context and context.id == turn.context]
        return next((context for context in named if self.near(context.time, turn.time)), None)

    def stale(self, item: ShownItem) -> bool:
        objective = self.objectives.get(item.source, self.default)
        return item.stale or (item.lag is not None and item.lag > objective)

    def any_stale(self, context: ShownContext | None) -> bool | None:
        return None if context is None else any(self.stale(item) for item in context.items)

    def answer(self, turn: Turn) -> Row:
        context = self.shown(turn)
        ratings = [r for r in self.ratings if r.turn == turn.id and self.near(r.time, turn.time)]
        balance = sum(r.good for r in ratings) - sum(r.bad for r in ratings)
        scores = [Fraction(_score(rating)) for rating in ratings]
        spent = [tokens for tokens in (turn.tokens_in, turn.tokens_out) if tokens is not None]
        row = {
            "at": turn.time,
            **self.about(turn),
            "latency": turn.latency,
            "tokens_in": turn.tokens_in,
            "tokens_out": turn.tokens_out,
            "tokens": sum(spent) if spent else None,
            "cost": turn.cost,
            "fallback": turn.fallback,
            "rated": bool(ratings),
            "stale": self.any_stale(context),
        }
        if ratings:
            row |= {"good": balance > 0, "bad": balance < 0, "score": float(sum(scores)) / len(scores)}
        if context is not None:
            lags = [item.lag for item in context.items if item.lag is not None]
            row["lag"] = max(lags) if lags else None
            row["documents"] = tuple(sorted({f"{i.source}/{i.document}" for i in context.items if i.document}))
        return row

    def target(self, event: Rating | Comment) -> Turn | None:
        near = [turn for turn in self.turns if self.near(turn.time, event.time)]
        if event.turn:
            return next((turn for turn in near if turn.id == event.turn), None)
        answers = [turn for turn in near if turn.role == "assistant" and turn.time <= event.time]
        return max(answers, key=_place) if answers else min(near, key=_place, default=None)

    def of_target(self, event: Rating | Comment) -> Row:
        target = self.target(event)
        row = {} if target is None else self.about(target)
        row |= {"conversation": event.conversation, "turn": event.turn or None, "known": target is not None}
        if event.person:
            row["person"] = event.person
        return {"at": event.time, **row}

    def rating(self, rating: Rating) -> Row:
        target = self.target(rating)
        return {
            **self.of_target(rating),
            "scale": rating.scale,
            "value": rating.value,
            "score": _score(rating),
            "good": rating.good,
            "bad": rating.bad,
            "stale": None if target is None else self.any_stale(self.shown(target)),
        }

    def comment(self, comment: Comment) -> Row:
        verdict = self.verdict("comment", comment.id, comment.time) or comment.verdict
        row = {**self.of_target(comment), "text": comment.text[:500]}
        if comment.language:
            row["language"] = comment.language
        if verdict is not None:
            row |= {
                "category": verdict.category or None,
                "topics": verdict.topics,
                "confidence": verdict.confidence,
            }
        return row

    def piece(self, context: ShownContext, item: ShownItem) -> Row:
        return {
            "at": context.time,
            "conversation": context.conversation,
            "context": context.id,
            "application": self.neighbours("application", context.time, lambda turn: turn.time <= context.time),
            "source": item.source,
            "document": item.document or None,
            "lag": item.lag,
            "stale": self.stale(item),
        }


def _place(turn: Turn) -> tuple[int, int, str]:
    return turn.time, ["system", "user", "tool", "assistant"].index(turn.role), turn.id


def _score(rating: Rating) -> float:
    return rating.value if rating.scale == "thumbs" else (rating.value - 1) / 4
