"""Finds days in a question, as people write them in English, German, French, Portuguese, Spanish and Dutch.

A day is read from the text and the present alone, in UTC. What can mean several days gives all of them; what is a day
in one of the languages and an everyday word in another, such as `hier` or `out`, gives none.

Numbers such as 3/11/2026 have the day first: so all of these languages write it, British English included. Only where
that is no day, as in 11/25/2026, the month comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

from serving.context.gazetteer import Gazetteer, Word, words

HALF_A_YEAR = 183
"""Days. A date without a year is the one that is nearest to the present, at most so far away."""

LONGEST_SPAN = 20
"""Days from one date to another; of a longer span only both ends count."""

MOST_DAYS = 50
"""Days that one question names at most."""

_MONTHS = (
    "january jan januar janvier janeiro enero januari",
    "february feb februar fevrier fevereiro febrero februari",
    "march mar marz mars marco marzo maart",
    "april apr avril abril abr",
    "may mai maio mayo mei",
    "june jun juni juin junho junio",
    "july jul juli juillet julho julio",
    "august aug aout agosto augustus",
    "september sep sept septembre setembro septiembre",
    "october oct oktober okt octobre outubro octubre",
    "november nov novembre novembro noviembre",
    "december dec dezember dez decembre dezembro diciembre",
)
_MONTH = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_EVERYDAY = {"may", "march", "mar", "mars", "mai"}
"""Months that are words of other meaning too: before a day they count with a capital letter only."""

_WEEKDAYS = (
    ("monday", "montag", "lundi", "segunda feira", "lunes", "maandag"),
    ("tuesday", "dienstag", "mardi", "terca feira", "martes", "dinsdag"),
    ("wednesday", "mittwoch", "mercredi", "quarta feira", "miercoles", "woensdag"),
    ("thursday", "donnerstag", "jeudi", "quinta feira", "jueves", "donderdag"),
    ("friday", "freitag", "vendredi", "sexta feira", "viernes", "vrijdag"),
    ("saturday", "samstag", "sonnabend", "samedi", "sabado", "zaterdag"),
    ("sunday", "sonntag", "dimanche", "domingo", "zondag"),
)
_WEEKDAY = {name: number for number, names in enumerate(_WEEKDAYS) for name in names}

_NEAR = {
    -2: ("day before yesterday", "vorgestern", "avant hier", "anteontem", "anteayer", "eergisteren"),
    -1: ("yesterday", "gestern", "ontem", "ayer", "gisteren", "gestern morgen", "gisteren morgen"),
    0: ("today", "tonight", "heute", "heute morgen", "aujourd hui", "hoje", "hoy", "esta manana", "vandaag"),
    1: ("tomorrow", "morgen", "demain", "amanha", "manana", "manana por la manana"),
    2: ("day after tomorrow", "ubermorgen", "apres demain", "depois de amanha", "pasado manana", "overmorgen"),
}
_DAYS_AWAY = {name: away for away, names in _NEAR.items() for name in names}
# The same words where they mean the morning.
_MORNINGS = (
    "guten morgen",
    "goede morgen",
    "por la manana",
    "de la manana",
    "am morgen",
    "jeden morgen",
    "elke morgen",
)
_PHRASES = Gazetteer([*_WEEKDAY, *_DAYS_AWAY, *_MORNINGS])

_NEXT = {"next", "coming", "nachsten", "nachster", "kommenden", "prochain", "proxima", "proximo", "volgende", "komende"}
_LAST = {"last", "past", "letzten", "letzter", "vergangenen", "dernier", "passado", "passada", "pasado", "afgelopen"}

_ARTICLES = {"the", "of", "de", "del", "den", "dem", "der", "le", "du", "do", "o", "el", "dia", "am", "on"}
_TO = {"to", "until", "till", "through", "bis", "au", "ate", "a", "al", "hasta", "tot", "t"}
_AND = {"and", "or", "und", "oder", "et", "ou", "e", "y", "o", "u", "en", "of"}

_DAY = re.compile(r"([12][0-9]|3[01]|0?[1-9])(st|nd|rd|th|er|e|o|a|de|ste)?", re.ASCII)
_YEAR = re.compile(r"(?:19|20|21)[0-9]{2}", re.ASCII)
_GAP = re.compile(r"[\s.,'\u2019/\u2010-\u2015-]{0,3}")
_DASH = re.compile(r"\s?[\u2010-\u2015-]\s?")
_ISO = re.compile(r"(?<![\w.,/-])([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})(?![.,/-]?[0-9])", re.ASCII)
_NUMERIC = re.compile(r"(?<![\w.,/-])([0-9]{1,2})([./-])([0-9]{1,2})\2((?:[0-9]{2}){1,2})(?![.,/-]?[0-9])", re.ASCII)
_GERMAN = re.compile(r"\b(?:am|vom|zum|bis|ab|seit) ([0-9]{1,2})\.([0-9]{1,2})\.(?![0-9])", re.ASCII | re.IGNORECASE)


class Day(NamedTuple):
    """A day that a text names.

    :arg day: Such as `2026-11-03`.
    :arg begin: Where it is named in the text.
    :arg end: Where that ends, exclusive.
    """

    day: str
    begin: int
    end: int


class _Span(NamedTuple):
    """Days that some words name together; `weekday` if they only name a day of the week."""

    days: tuple[date, ...]
    begin: int
    end: int
    weekday: bool = False


def days(text: str, now: int) -> list[Day]:
    """Return the days that a text names, in its order.

    :arg now: The present, in milliseconds since 1970-01-01 UTC.
    """
    today = datetime.fromtimestamp(now / 1000, tz=timezone.utc).date()
    said = words(text)
    spans = [*_numeric(text, today), *_in_words(text, said, today), *_near(text, said, today)]
    kept: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.begin, -span.end)):
        if not kept or span.begin >= kept[-1].end:
            kept.append(span)
    found = [Day(day.isoformat(), span.begin, span.end) for span in _told_once(text, kept) for day in span.days]
    return found[:MOST_DAYS]


def next_day(day: str) -> str | None:
    """Return the day after `day`; None if that is no day such as `2026-11-03`, or none comes after it."""
    try:
        following = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return None
    # Later versions of Python read more ways of writing.
    return following if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day, re.ASCII) else None


def _numeric(text: str, today: date) -> Iterator[_Span]:
    for found in _ISO.finditer(text):
        yield from _span(found, _day(int(found[1]), int(found[3]), int(found[4])))
    for found in _NUMERIC.finditer(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        year += 2000 if len(found[4]) <= 2 else 0  # noqa: PLR2004  # two digits
        day = _day(year, second, first) or (_day(year, first, second) if found[2] != "." else None)
        yield from _span(found, day)
    for found in _GERMAN.finditer(text):
        yield from _span(found, _nearest(int(found[2]), int(found[1]), today))


def _span(found: re.Match[str], day: date | None) -> Iterator[_Span]:
    if day is not None:
        yield _Span((day,), found.start(), found.end())


def _in_words(text: str, said: list[Word], today: date) -> Iterator[_Span]:
    """Yield `3 November`, `3rd of November 2026`, `November 3`, `3 to 5 November`."""
    at = 0
    while at < len(said):
        read = _day_first(text, said, at, today) or _month_first(text, said, at, today)
        if read is not None:
            found, at = read
            yield found
        else:
            at += 1


def _day_first(text: str, said: list[Word], at: int, today: date) -> tuple[_Span, int] | None:
    first = _day_number(said, at)
    if first is None:
        return None
    month_at = _behind_articles(text, said, at + 1)
    last, through = first, False
    if _month(said, month_at) is None:
        joined = _joined(text, said, at)
        if joined is None:
            return None
        through, last_at = joined
        last = _day_number(said, last_at) or 0
        month_at = _behind_articles(text, said, last_at + 1)
    month = _month(said, month_at)
    if month is None or not last:
        return None
    after, year = _year(text, said, month_at)
    end = _dated(month, last, year, today)
    begin = _dated(month, first, year if end is None else end.year, today)
    found = tuple(dict.fromkeys(day for day in (begin, end) if day is not None))
    if through and begin is not None and end is not None and 0 < (end - begin).days <= LONGEST_SPAN:
        found = tuple(begin + timedelta(days=more) for more in range((end - begin).days + 1))
    return (_Span(found, said[at].begin, said[after - 1].end), after) if found else None


def _month_first(text: str, said: list[Word], at: int, today: date) -> tuple[_Span, int] | None:
    month, number = _month(said, at), _day_number(said, at + 1)
    if month is None or number is None or not _close(text, said, at):
        return None
    if said[at].plain in _EVERYDAY and not text[said[at].begin].isupper():
        return None
    after, year = _year(text, said, at + 1)
    day = _dated(month, number, year, today)
    return None if day is None else (_Span((day,), said[at].begin, said[after - 1].end), after)


def _joined(text: str, said: list[Word], at: int) -> tuple[bool, int] | None:
    """Tell whether behind the number of a day stands another one: whether it ends a span, and where it stands."""
    if at + 1 < len(said) and _DASH.fullmatch(text[said[at].end : said[at + 1].begin]):
        return True, at + 1
    join = said[at + 1].plain if at + 1 < len(said) else ""
    return (join in _TO, _behind_articles(text, said, at + 2)) if join in _TO | _AND else None


def _behind_articles(text: str, said: list[Word], at: int) -> int:
    while at < len(said) and said[at].plain in _ARTICLES and _close(text, said, at - 1):
        at += 1
    return at if _close(text, said, at - 1) else len(said)


def _year(text: str, said: list[Word], at: int) -> tuple[int, int | None]:
    """Return, of the year behind the word at `at`, the number of the word behind it, and itself if there is one."""
    behind = _behind_articles(text, said, at + 1)
    if behind < len(said) and _YEAR.fullmatch(said[behind].plain):
        return behind + 1, int(said[behind].plain)
    return at + 1, None


def _near(text: str, said: list[Word], today: date) -> Iterator[_Span]:
    """Yield `today`, `on Friday`."""
    for found in _PHRASES.find(said):
        begin, end = said[found.first].begin, said[found.after - 1].end
        if found.value in _DAYS_AWAY:
            yield _Span(_away(today, _DAYS_AWAY[found.value]), begin, end)
        elif found.value in _WEEKDAY:
            beside = {said[at].plain for at in (found.first - 1, found.after) if 0 <= at < len(said)}
            ahead = (_WEEKDAY[found.value] - today.weekday()) % 7
            if beside & _LAST:
                days_away = [ahead - 7]
            elif ahead:
                days_away = [ahead]
            else:  # it is that day today: whoever does not say which may mean both
                days_away = [7] if beside & _NEXT else [0, 7]
            yield _Span(tuple(day for away in days_away for day in _away(today, away)), begin, end, weekday=True)


def _told_once(text: str, spans: list[_Span]) -> list[_Span]:
    """Leave out days of the week that only say again which day a date is, as in `Friday, 6 November`."""
    return [
        span
        for at, span in enumerate(spans)
        if not span.weekday
        or not any(
            not other.weekday and _only_articles(text[min(span.end, other.end) : max(span.begin, other.begin)])
            for other in spans[max(0, at - 1) : at + 2]
        )
    ]


def _only_articles(between: str) -> bool:
    return len(between) < 10 and all(word.plain in _ARTICLES for word in words(between))  # noqa: PLR2004  # letters


def _close(text: str, said: list[Word], at: int) -> bool:
    """Tell whether a word follows the one at `at` with no more than a blank and a sign between them."""
    return at + 1 < len(said) and _GAP.fullmatch(text[said[at].end : said[at + 1].begin]) is not None


def _day_number(said: list[Word], at: int) -> int | None:
    found = _DAY.fullmatch(said[at].plain) if at < len(said) else None
    return int(found[1]) if found else None


def _month(said: list[Word], at: int) -> int | None:
    return _MONTH.get(said[at].plain) if at < len(said) else None


def _dated(month: int, number: int, year: int | None, today: date) -> date | None:
    return _nearest(month, number, today) if year is None else _day(year, month, number)


def _nearest(month: int, number: int, today: date) -> date | None:
    found = [
        day
        for year in (today.year - 1, today.year, today.year + 1)
        if (day := _day(year, month, number)) is not None and abs((day - today).days) <= HALF_A_YEAR
    ]
    return min(found, key=lambda day: abs((day - today).days), default=None)


def _day(year: int, month: int, number: int) -> date | None:
    try:
        return date(year, month, number)
    except ValueError:
        return None


def _away(today: date, away: int) -> tuple[date, ...]:
    try:
        return (today + timedelta(days=away),)
    except OverflowError:
        return ()
