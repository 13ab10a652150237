"""Normalisers: many ways to write one thing become one text, or a refusal that says why there is none.

Each is a pure function of the value: it raises nothing whatever the value is, its work is bounded, what it returns is
left alone by itself, is no longer than 1,000 characters, and holds no `|`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from operators.identity import codes, dates, emails, names, phones
from operators.identity.rules import EmailRule, Normaliser
from operators.identity.texts import Normalised, Refusal, bounded, text_of

VERSION = 1
"""Raise it when a normaliser makes another text, or none, of a value: graphs made before do not fit any more."""

Normalise = Callable[[object], Normalised]

_A_NUMBER = Refusal("a number, not a date: set its encoding in `columns`, such as `date-days`")


def normaliser(
    part: Normaliser,
    *,
    region: str = "",
    email_aliases: bool = True,
    email_providers: Mapping[str, EmailRule] | None = None,
) -> Normalise:
    """Return the normaliser of that name, for values of rows as `events.changes.Row` has them.

    :arg region: Country of phone numbers without one, as ISO 3166 has it; empty: they are refused.
    :arg email_aliases: Whether addresses at known providers are folded as these do.
    :arg email_providers: What other domains ignore in an address; always folded.
    :raises ValueError: When there is no such country, or a provider is no domain.
    """
    if part == "email":
        return _of_text(emails.email(aliases=email_aliases, providers=email_providers or {}))
    if part == "phone":
        return _of_text(phones.phone(region))
    if part == "date":
        return _date
    return _of_text(
        {"code": codes.code, "document": codes.document, "name": names.name, "postcode": codes.postcode}[part]
    )


def _of_text(normalise: Callable[[str], Normalised]) -> Normalise:
    def whole(value: object) -> Normalised:
        text = text_of(value)
        if isinstance(text, Refusal):
            return text
        made = normalise(text)
        return made if isinstance(made, Refusal) else bounded(made)

    return whole


def _date(value: object) -> Normalised:
    text = text_of(value)
    if isinstance(text, Refusal):
        return text
    return dates.day(text) if isinstance(value, str) else _A_NUMBER
