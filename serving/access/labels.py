"""Audience labels: what documents and tables are marked with, and what keys and tokens are for."""

from __future__ import annotations

from collections.abc import Iterable

from events.errors import RejectedError
from serving.access.caller import PUBLIC

MOST_LABELS = 100
_LONGEST = 100


def is_label(text: str) -> bool:
    """Tell whether a text can be an audience label: printable, no comma, no blank at its ends, of bounded length."""
    return 0 < len(text) <= _LONGEST and text == text.strip() and text.isprintable() and "," not in text


def checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the labels, each once, `public` among them.

    :raises RejectedError: When one can be none, or there are too many.
    """
    found = tuple(dict.fromkeys((PUBLIC, *labels)))
    for label in found:
        if not is_label(label):
            detail = f"{label[:_LONGEST]!r} can be no audience label"
            raise RejectedError(detail, f"use up to {_LONGEST} printable characters, without a comma")
    if len(found) > MOST_LABELS:
        detail = f"{len(found)} audience labels are too many"
        raise RejectedError(detail, f"{MOST_LABELS} are taken, `{PUBLIC}` among them")
    return found
