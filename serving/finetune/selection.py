"""Which answers are good enough to learn from, and the first reason why the others are not."""

from __future__ import annotations

from serving.finetune.answers import Answer, Exchange
from stores.export_settings import ExportSettings

REASONS = {
    "time": "of conversations outside the span of time",
    "application": "of other applications",
    "language": "in other languages",
    "topic": "of other topics",
    "no_question": "to no question",
    "fallback": "with which the application gave up",
    "too_short": "that are too short",
    "too_long": "that are too long, or have too much before them",
    "consent_refused": "whose person has refused, or taken back, that they be used",
    "consent_unknown": "whose person was not asked (--assume-consent takes them)",
    "unrated": "that nobody rated (--unrated takes them as chat lines)",
    "rating": "rated lower than --min-rating",
    "context_stale": "from a context that was out of date (--any-context takes them)",
    "context_unknown": "from no context, or one that is not known (--unknown-context takes them)",
    "history": "behind an answer that was bad, gave up, or came from a context out of date",
    "duplicate": "said before",
    "near_duplicate": "said before in nearly these words",
    "leak": "for validation that nearly stand in what is trained on",
    "unpaired": "with no better or worse one to the same question",
}
"""Why something is dropped, in the order in which it is looked at; each is about `answers ...`."""


def unusable(answer: Answer, rules: ExportSettings) -> str:
    """Return why an answer can be in no export at all, good or bad; empty if it can."""
    last = answer.last
    for reason, applies in (
        ("application", rules.applications and not set(rules.applications) & set(answer.applications)),
        ("language", rules.languages and answer.language not in rules.languages),
        ("topic", rules.topics and answer.topic not in rules.topics),
        ("no_question", not last.question),
        ("fallback", last.fallback),
        ("too_short", len(last.answer) < rules.least_characters),
        ("too_long", len(last.answer) > rules.most_characters or answer.characters > rules.most_line_characters),
    ):
        if applies:
            return reason
    return ""


def untaught(answer: Answer, rules: ExportSettings) -> str:
    """Return why an answer is not one to be learnt; empty if it is.

    What was said before it is in the same line: it must not be known to be bad.
    """
    last = answer.last
    if last.score is None and not rules.unrated:
        return "unrated"
    if last.score is not None and last.score < rules.min_rating:
        return "rating"
    return out_of_context(last, rules) or ("history" if tainted(answer, rules) else "")


def out_of_context(exchange: Exchange, rules: ExportSettings) -> str:
    """Return what is wrong with the context of an answer; empty if nothing is."""
    if rules.context != "any" and exchange.fresh is False:
        return "context_stale"
    return "context_unknown" if rules.context == "fresh" and exchange.fresh is None else ""


def tainted(answer: Answer, rules: ExportSettings) -> bool:
    """Tell whether something before an answer is known to be bad."""
    return any(
        one.fallback
        or (one.score is not None and one.rated and one.score < rules.min_rating)
        or (rules.context != "any" and one.fresh is False)
        for one in answer.history
    )
