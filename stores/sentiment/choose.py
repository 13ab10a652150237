"""Who says what comments say: the classifier or the endpoint that the settings name."""

from __future__ import annotations

import random

from events.clock import system_clock
from stores.embedders.base import Embedder
from stores.embedders.choose import open_embedder
from stores.sentiment.base import Judge
from stores.sentiment.classifier import LogisticClassifier
from stores.sentiment.examples import Example, gather_examples, topics_of
from stores.settings import Settings


def open_classifier(settings: Settings, embedder: Embedder | None = None) -> LogisticClassifier:
    """Return the classifier of `settings`. Reads the examples; embeds and learns at the first text.

    :arg embedder: To share one with others; None: the embedder of `settings` behind its cache.
    :raises SettingsError: When an example or the vocabulary is wrong.
    """
    sentiment = settings.feedback.sentiment
    examples = examples_of(settings)
    return LogisticClassifier(
        embedder or open_embedder(settings),
        examples,
        categories=sentiment.categories,
        topics=topics_of(examples, sentiment.topics),
        least_confidence=sentiment.least_confidence,
    )


def examples_of(settings: Settings) -> list[Example]:
    """Return the labelled lines of `settings`.

    :raises SettingsError: When one is wrong, or a category has none.
    """
    sentiment = settings.feedback.sentiment
    return gather_examples(sentiment.examples, sentiment.categories, shipped=not sentiment.own_examples_only)


def open_judge(settings: Settings, *, patient: bool = True) -> Judge:
    """Return the endpoint of `settings`; nothing is sent before the first text.

    Its topics are those of the settings, else those that the examples name; its categories need no examples.

    :arg patient: Whether a text waits for as long as the endpoint is down.
    :raises SettingsError: When the address, the key or an example is wrong.
    """
    # Only who has an endpoint pays for loading the client.
    from stores.sentiment.chat import Chat
    from stores.sentiment.endpoint import Endpoint

    sentiment = settings.feedback.sentiment
    topics = sentiment.topics or _topics_named(settings)
    return Endpoint(
        sentiment.url,
        Chat(sentiment.model, sentiment.categories, topics),
        key=sentiment.key.get_secret_value() if sentiment.key else "",
        concurrency=sentiment.concurrency,
        timeout=sentiment.timeout_seconds,
        attempts=sentiment.attempts,
        most_requests_an_hour=sentiment.most_requests_an_hour,
        patient=patient,
        clock=system_clock,
        chance=random.random,
    )


def _topics_named(settings: Settings) -> tuple[str, ...]:
    from stores.sentiment.examples import SHIPPED, read_examples

    sentiment = settings.feedback.sentiment
    paths = (*(() if sentiment.own_examples_only else (SHIPPED,)), *sentiment.examples)
    return tuple(sorted({topic for path in paths for one in read_examples(path) for topic in one.topics}))
