"""Calendar dates, such as dates of birth, as `YYYY-MM-DD`; nothing is guessed.

A date with a time of day is the day as it is written: no zone is applied, as a birthday has none. What may be one of
two days is refused, and so are the days that programs write for an unknown one.
"""

from __future__ import annotations

import re
from datetime import date

from operators.identity.placeholders import is_placeholder
from operators.identity.texts import PLACEHOLDER, Normalised, Refusal, plain_dashes, plain_digits

_TIME = r"(?:[T ] ?\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)? ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?)?)?"
_YEAR_FIRST = re.compile(rf"(?P<y>\d{{4}})([-/.])(?P<m>\d{{1,2}})\2(?P<d>\d{{1,2}}){_TIME}", re.ASCII | re.IGNORECASE)
_BASIC = re.compile(r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)(?:T\d{2,6}(?:Z|[+-]\d{2,4})?)?", re.ASCII | re.IGNORECASE)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.]) ?(\d{{1,2}})\2 ?(\d{{4}}){_TIME}", re.ASCII | re.IGNORECASE)
_SHORT_YEAR = re.compile(r"\d{1,2}([-/.]) ?(?:\d{1,2}|[A-Z]{3})\1 ?\d\d", re.ASCII | re.IGNORECASE)
_DAY_MONTH = re.compile(
    r"(?P<d>\d{1,2})(?:st|nd|rd|th)?[-. ]{1,2}(?P<m>[A-Z]{3,9})[-., ]{1,2}(?P<y>\d{4})", re.ASCII | re.IGNORECASE
)
_MONTH_DAY = re.compile(r"(?P<m>[A-Z]{3,9})\.? (?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4})", re.ASCII | re.IGNORECASE)

_NAMES = "january february march april may june july august september october november december"
_MONTHS = {name[:length]: at for at, name in enumerate(_NAMES.split(), 1) for length in (3, len(name))} | {"sept": 9}

_DEFAULT_DAYS = """
    0000-00-00 0001-01-01 0001-01-03 1000-01-01 1111-11-11 1582-10-15 1601-01-01 1753-01-01 1800-01-01 1858-11-17
    1899-12-30 1899-12-31 1900-01-00 1900-01-01 1901-01-01 1904-01-01 1970-01-01 2079-06-06 2099-12-31 2199-12-31
    2222-02-22 2999-12-31 3000-01-01 3333-03-03 4444-04-04 5555-05-05 6666-06-06 7777-07-07 8888-08-08 9999-01-01
    9999-09-09 9999-12-31
"""
_DEFAULTS = frozenset(_DEFAULT_DAYS.split())
"""Days that stand for none: the first and last ones of databases and spreadsheets, their epochs, and fillers."""
_WORDS = frozenset({"infinity", "-infinity"})
_YEARS = range(1850, 2200)
_MAX_MONTH = 12

_NOT_A_DATE = Refusal("not a date")
_AMBIGUOUS = Refusal("ambiguous date")
_NO_SUCH_DAY = Refusal("no such day")
_IMPLAUSIBLE = Refusal("a year out of range")


def day(text: str) -> Normalised:
    """Return a date as ISO 8601 has it.

    Read are `1984-03-12` and the same with `/` or `.`, with or without a time; `19840312`; `12.03.1984`;
    `12/03/1984` and `12-03-1984` only where day and month cannot be confused; and English months by name.
    """
    text = plain_dashes(plain_digits(text))
    if found := _YEAR_FIRST.fullmatch(text) or _BASIC.fullmatch(text):
        return _checked(int(found["y"]), int(found["m"]), int(found["d"]))
    if found := _YEAR_LAST.fullmatch(text):
        return _year_last(int(found[1]), int(found[3]), int(found[4]), found[2])
    found = _DAY_MONTH.fullmatch(text) or _MONTH_DAY.fullmatch(text)
    if found and (month := _MONTHS.get(found["m"].lower())):
        return _checked(int(found["y"]), month, int(found["d"]))
    if is_placeholder(text) or text.lower() in _WORDS:
        return PLACEHOLDER
    return _AMBIGUOUS if _SHORT_YEAR.fullmatch(text) else _NOT_A_DATE


def _year_last(first: int, second: int, year: int, separator: str) -> Normalised:
    # With dots the day goes first wherever dates have dots (DIN 5008, and the neighbours' habits).
    if separator == "." or first > _MAX_MONTH or first == second:
        return _checked(year, second, first)
    if second > _MAX_MONTH:
        return _checked(year, first, second)
    defaults = {f"{year:04}-{first:02}-{second:02}", f"{year:04}-{second:02}-{first:02}"} & _DEFAULTS
    return PLACEHOLDER if defaults else _AMBIGUOUS


def _checked(year: int, month: int, number: int) -> Normalised:
    text = f"{year:04}-{month:02}-{number:02}"
    if text in _DEFAULTS:
        return PLACEHOLDER
    if year not in _YEARS:
        return _IMPLAUSIBLE
    try:
        date(year, month, number)
    except ValueError:
        return _NO_SUCH_DAY
    return text
