"""Telephone numbers as E.164 writes them, with `;ext=` and the extension behind (RFC 3966) where there is one.

An extension is kept, as it is another person at the same switchboard. Numbers that belong to nobody in particular, such
as those of services and emergencies, are refused, and so is everything that the plan of its country does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from operators.identity.placeholders import is_placeholder, is_run
from operators.identity.texts import PLACEHOLDER, Normalised, Refusal, plain_dashes, plain_digits

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

_LABEL = re.compile(
    r"^(?:tel|telephone|telefone?|telefono|tlf|tlm|phone|fone|fon|cell|mobile|mobil|movil|telemovel|handy|gsm|whatsapp)"
    r"\b[.:\s]*",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?P<number>[(\[]?\s*\+?[\d\s()\[\]./~-]*\d[\s()\[\]./~-]*)"
    r"(?:[,;\s]*(?:ext(?:ension|n)?|x|dw|durchwahl|ramal|poste|int)\s*[.:=#]?\s*(?P<extension>\d{1,7}))?",
    re.ASCII | re.IGNORECASE,
)
_SIGNS = re.compile(r"\D+")
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_COUNTRY_ENDS = (2, 3, 4)
_LONGEST = 100
_EMPTY_LINE = "0000000"
"""The end of a number that somebody has filled up."""

_NOT_A_NUMBER = Refusal("not a phone number")
_NO_COUNTRY = Refusal("no country: set `region`")
_SERVICE = Refusal("the number of a service")


def phone(region: str) -> Callable[[str], Normalised]:
    """Return a normaliser of numbers.

    :arg region: Country of those without one, as ISO 3166 has it; empty: they are refused.
    :raises ValueError: When there is no such country.
    """
    import phonenumbers
    from phonenumbers import PhoneNumberType as Kind

    country = region.strip().upper() or None
    if country is not None and country not in phonenumbers.SUPPORTED_REGIONS:
        message = f"{region!r} is no country of telephone numbers"
        raise ValueError(message)
    services = {Kind.PREMIUM_RATE, Kind.SHARED_COST, Kind.TOLL_FREE, Kind.UAN, Kind.VOICEMAIL}

    def normalise(text: str) -> Normalised:
        found = _NUMBER.fullmatch(_LABEL.sub("", plain_dashes(plain_digits(text)))) if len(text) <= _LONGEST else None
        if found is None:
            return PLACEHOLDER if is_placeholder(text) else _NOT_A_NUMBER
        # Signs between the digits say nothing, and cost the parser most of its time.
        digits = _SIGNS.sub("", found["number"])
        made = PLACEHOLDER if is_run(digits) else line(f"+{digits}" if "+" in found["number"] else digits)
        return f"{made};ext={found['extension']}" if found["extension"] and isinstance(made, str) else made

    def line(compact: str) -> Normalised:
        try:
            number = _ready(compact) or phonenumbers.parse(compact, country)
        except phonenumbers.NumberParseException as error:
            stray = error.error_type == error.INVALID_COUNTRY_CODE and country is None and compact[0] != "+"
            return _NO_COUNTRY if stray else _NOT_A_NUMBER
        national = phonenumbers.national_significant_number(number)
        if is_run(national) or national.endswith(_EMPTY_LINE):
            return PLACEHOLDER
        # Of an invalid number the kind is not known.
        kind = phonenumbers.number_type(number)
        if kind == Kind.UNKNOWN:
            return _NOT_A_NUMBER
        return _SERVICE if kind in services else f"+{number.country_code}{national}"

    return normalise


def _ready(text: str) -> PhoneNumber | None:
    """Read what is E.164 already as the parser would, in half its time; None where only the parser can tell.

    Behind the country it does nothing but take away what may be a national prefix or leading zeros.
    """
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumber, region_code_for_country_code

    if not _E164.fullmatch(text):
        return None
    for end in _COUNTRY_ENDS:
        country = int(text[1:end])
        if country in COUNTRY_CODE_TO_REGION_CODE:
            plan = PhoneMetadata.metadata_for_region_or_calling_code(country, region_code_for_country_code(country))
            national = text[end:]
            prefix = plan.national_prefix_for_parsing if plan else None
            if plan is None or national[0] == "0" or (prefix and re.match(prefix, national)):
                return None
            return PhoneNumber(country_code=country, national_number=int(national))
    return None


def edition() -> str:
    """Return which edition of the numbering plans decides: its first number; the others are of every second week."""
    import phonenumbers

    return str(phonenumbers.__version__).partition(".")[0]
