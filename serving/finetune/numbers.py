"""Numbers that name somebody, found in running text: bank accounts, cards, telephones, addresses of machines.

Accounts (ISO 13616) and cards (ISO/IEC 7812) are told from other numbers by their checksums. Every search takes time in
proportion to the text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TypeAlias

Hit: TypeAlias = "tuple[int, int, str]"
"""From where to where, and the value without what does not matter to it."""

_IBAN_BEGIN = re.compile(r"(?<![^\W_])[A-Z]{2}\d{2}(?=[ -]?[A-Z0-9])", re.ASCII | re.IGNORECASE)
_IBAN_MOST = 34
_IBAN_LEAST = 15
_IBAN_LENGTHS = {
    code: int(length)
    for length, codes in {
        "15": "NO", "16": "BE", "18": "DK FI FK FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip
"""Lengths of the IBAN registry (SWIFT); of countries that are not in it any length will do."""

_DIGITS = re.compile(r"(?<!\d)\d(?:[ .\-/]?\d){11,60}(?!\d)", re.ASCII)
_CARD_MOST, _CARD_LEAST = 19, 12
_CARD_BEGINS = "23456"

_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f:]{2,40}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])", re.ASCII | re.IGNORECASE)
_IPV6_COLONS, _IPV6_DIGITS = 2, 3

_INTERNATIONAL = re.compile(r"(?<![\w+])(?:\+|00)[ (]{0,2}[1-9](?:[ ().\-/]{0,3}\d){6,14}(?!\d)", re.ASCII)
_LABELLED = re.compile(
    r"(?<!\w)(?:tel|phone|telephone|telefone?|telefono|tlf|fone|fon|cell|mobile|mobil|handy|handynummer|gsm|whatsapp|"
    r"telefonnummer|number is|nummer ist|call me (?:at|on)|reach me (?:at|on))\b\W{0,5}"
    r"(?P<number>\(?\d(?:[ ().\-/]{0,3}\d){5,14})(?!\d)",
    re.ASCII | re.IGNORECASE,
)
_MAY_BE_ONE = re.compile(r"\d(?:[ ()\[\].,+/~x*-]{0,4}\d){5}", re.ASCII)
"""Where there is none, nothing that is slower needs to look."""


def ibans(text: str) -> Iterator[Hit]:
    """Find numbers of bank accounts, in groups or not."""
    for begin in _IBAN_BEGIN.finditer(text):
        letters: list[str] = []
        ends: list[int] = []
        at = begin.start()
        while len(letters) < _IBAN_MOST and at < len(text):
            if text[at].isascii() and text[at].isalnum():
                letters.append(text[at].upper())
                ends.append(at + 1)
            elif text[at] not in " -" or not text[at - 1].isalnum():
                break
            at += 1
        known = _IBAN_LENGTHS.get("".join(letters[:2]))
        for length in (known,) if known else range(len(letters), _IBAN_LEAST - 1, -1):
            if length <= len(letters) and _mod_97("".join(letters[:length])):
                yield begin.start(), ends[length - 1], "".join(letters[:length])
                break


def cards(text: str) -> Iterator[Hit]:
    """Find numbers of payment cards, in groups or not, also between other numbers."""
    for run in _DIGITS.finditer(text):
        places = [place for place in range(run.start(), run.end()) if text[place].isdigit()]
        begin = 0
        while begin + _CARD_LEAST <= len(places):
            length = _card(text, places, begin)
            if length:
                last = begin + length - 1
                yield places[begin], places[last] + 1, "".join(text[place] for place in places[begin : last + 1])
            begin += length or 1


def _card(text: str, places: list[int], begin: int) -> int:
    """Return how many digits from `begin` on are a card's number; 0 if none are."""
    if text[places[begin]] not in _CARD_BEGINS or (begin and places[begin - 1] == places[begin] - 1):
        return 0
    for length in range(min(_CARD_MOST, len(places) - begin), _CARD_LEAST - 1, -1):
        end = begin + length
        whole = end == len(places) or places[end] != places[end - 1] + 1
        if whole and _luhn([int(text[place]) for place in places[begin:end]]):
            return length
    return 0


def addresses(text: str) -> Iterator[Hit]:
    """Find addresses of machines, IPv4 and IPv6."""
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            written = found[0].rstrip(":") if not found[0].endswith("::") else found[0]
            if pattern is _IPV6 and (
                written.count(":") < _IPV6_COLONS or sum(map(str.isalnum, written)) < _IPV6_DIGITS
            ):
                continue
            try:
                address = ipaddress.ip_address(written)
            except ValueError:
                continue
            yield found.start(), found.start() + len(written), str(address)


def phones(text: str, region: str) -> Iterator[Hit]:
    """Find telephone numbers: with a country or behind a word for it, and such as the plan of `region` has."""
    if not _MAY_BE_ONE.search(text):
        return
    for found in _INTERNATIONAL.finditer(text):
        yield found.start(), found.end(), _digits(found[0])
    for found in _LABELLED.finditer(text):
        yield *found.span("number"), _digits(found["number"])
    if region:
        from phonenumbers import Leniency, PhoneNumberMatcher

        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            yield match.start, match.end, f"{match.number.country_code}{match.number.national_number}"


def _digits(text: str) -> str:
    digits = "".join(letter for letter in text if letter.isdigit())
    return digits.removeprefix("00")


def _mod_97(iban: str) -> bool:
    """Check an account's number: ISO/IEC 7064, MOD 97-10."""
    return int("".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])) % 97 == 1


def _luhn(digits: list[int]) -> bool:
    """Check a card's number: ISO/IEC 7812-1, annex B."""
    doubled = (digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(digits[::-1]))  # noqa: PLR2004  # of the formula
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0
