"""Normalisers are pure, bounded and done after once; how a thing is written does not change what it is."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Any

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.identity.names import name
from operators.identity.normalise import normaliser
from operators.identity.phones import _ready
from operators.identity.rules import Normaliser
from operators.identity.texts import Refusal

PARTS: tuple[Normaliser, ...] = ("email", "phone", "code", "document", "name", "date", "postcode")
NORMALISERS = {part: normaliser(part, region="DE") for part in PARTS}
EXAMPLES = 200

# Letters that change their number or order with their case or form, beside what addresses and dates are made of.
odd = st.sampled_from(
    "ßẞİ\u0131\u017fŉǰΐΰς\u03c3\u02bc'ﬁ\u0345\u0300\u0327\u3164\uff41①½Å\u212b\u03a9\u2126가각を゙か"
    "\u200d\u00ad\x00\x1f\u2028\U0001f600\u00af\u00b4|<>@.-+_,; /"
)
texts = (
    st.text(max_size=30)
    | st.text(odd | st.characters(codec="ascii"), max_size=20)
    | st.text("0123456789-+./ TZ:()", max_size=20)
    | st.builds(
        "{}@{}".format, st.text(max_size=12), st.sampled_from(["gmail.com", "yahoo.de", "a.example", "ü.example"])
    )
    | st.builds(
        " ".join, st.lists(st.sampled_from(["sr", "Sr.", "jr", "Dr.", "ing", "aae", "uee", "III", "Ph.D.", "oe,"]))
    )
)
values: st.SearchStrategy[Any] = (
    texts | st.integers() | st.floats() | st.decimals() | st.none() | st.booleans() | st.lists(texts, max_size=2)
)


@pytest.mark.parametrize("part", PARTS)
@given(value=values)
@example(value=Decimal("1E+999999"))
@example(value="\u1e9e" * 1000)
def test_a_normalised_value_is_bounded_printable_and_left_alone(part: Normaliser, value: Any) -> None:
    normalise = NORMALISERS[part]
    made = normalise(value)
    assert normalise(value) == made
    if isinstance(made, Refusal):
        assert made.reason
        return
    assert 0 < len(made) <= 1000
    assert "|" not in made
    assert made == made.strip()
    made.encode()
    assert normalise(made) == made


@pytest.mark.parametrize("part", PARTS)
@given(
    text=texts,
    before=st.sampled_from(["", " ", "\t", "\u00a0", "\u200b"]),
    after=st.sampled_from(["", " ", "\n", "\ufeff"]),
)
def test_blanks_around_and_the_form_of_unicode_do_not_matter(
    part: Normaliser, text: str, before: str, after: str
) -> None:
    normalise = NORMALISERS[part]
    expected = normalise(text)
    assert normalise(before + text + after) == expected
    # Composing may shorten a text that is too long otherwise.
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, text)
        if unicodedata.normalize("NFC", written) == unicodedata.normalize("NFC", text):
            assert normalise(written) == expected


# No title and no generation begins with a z.
plain_words = st.builds("z{}".format, st.text("abcdefghijklmnopqrstuvwxyzäöüéñçøłšž", min_size=1, max_size=8))


@given(words=st.lists(plain_words, min_size=2, max_size=4), order=st.randoms(use_true_random=False))
def test_a_name_has_no_case_no_order_and_no_punctuation(words: list[str], order: Any) -> None:
    expected = name(" ".join(words))
    assert name(" ".join(words).upper()) == expected
    assert name("-".join(words)) == expected
    shuffled = list(words)
    order.shuffle(shuffled)
    assert name(" ".join(shuffled)) == expected
    assert name(f"{words[-1]}, {' '.join(words[:-1])}") == expected


@given(text=st.text("abcxyz0123456789", min_size=4, max_size=12), cuts=st.lists(st.integers(0, 12), max_size=4))
def test_a_code_has_no_case_and_no_separators(text: str, cuts: list[int]) -> None:
    for part in ("code", "document"):
        expected = NORMALISERS[part](text)
        written = text.upper()
        for cut in cuts:
            written = written[: cut + 1] + "-_. "[cut % 4] + written[cut + 1 :]
        assert NORMALISERS[part](written) == expected


@given(day=st.dates())
def test_all_ways_to_write_a_day_give_that_day(day: Any) -> None:
    normalise = NORMALISERS["date"]
    expected = normalise(day.isoformat())
    assert expected == day.isoformat() or isinstance(expected, Refusal)
    for written in (
        f"{day:%Y%m%d}".rjust(8, "0"),
        f"{day.day:02}.{day.month:02}.{day.year:04}",
        f"{day.day}.{day.month}.{day.year:04}",
        f"{day.isoformat()}T23:59:59.999Z",
        f"{day.year:04}/{day.month}/{day.day}",
    ):
        assert normalise(written) == expected
    slashed = normalise(f"{day.month}/{day.day}/{day.year:04}")
    assert slashed == expected or (slashed == Refusal("ambiguous date") and day.day <= 12)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Return texts as E.164 has them: numbers that exist, with some of their digits changed, and such that may not."""
    if draw(st.booleans()):
        country = draw(st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)))
        return f"+{country}{draw(st.text('0123456789', min_size=1, max_size=13))}"
    region = draw(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
    kind = draw(st.sampled_from(phonenumbers.PhoneNumberType.values()))
    found = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    assert found is not None
    text = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
    end = draw(st.text("0123456789", max_size=4))
    return text[: len(text) - len(end)] + end


def parsed(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


@settings(max_examples=EXAMPLES * 10)
@given(text=numbers(), region=st.sampled_from([None, "DE", "US", "CA", "IT"]))
def test_the_short_way_of_reading_a_number_gives_what_the_parser_gives(text: str, region: str | None) -> None:
    short = _ready(text)
    assert short is None or short == parsed(text, region)


@settings(max_examples=EXAMPLES * 2)
@given(text=numbers(), signs=st.lists(st.sampled_from([" ", "-", ".", "/", "(", ")", "\u2013"]), max_size=4))
def test_a_number_is_what_the_library_says_that_it_is_whatever_stands_between_its_digits(
    text: str, signs: list[str]
) -> None:
    made = NORMALISERS["phone"](text)
    found = parsed(text, None)
    if isinstance(made, str):
        assert found is not None
        assert phonenumbers.is_valid_number(found)
        assert made == phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
    elif made.reason == "not a phone number":
        assert found is None or not phonenumbers.is_valid_number(found)
    written = text
    for at, sign in enumerate(signs):
        written = written[: 3 + 2 * at] + sign + written[3 + 2 * at :]
    assert NORMALISERS["phone"](written) == made
    assert normaliser("phone")(text) == made
