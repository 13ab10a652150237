"""Personal data in texts: what is found however it is written, what is left alone, and how long it may take."""

from __future__ import annotations

import time

import phonenumbers
import pytest

from serving.finetune.scrub import Known, Scrubber, renumbered
from stores.export_settings import ExportSettings


def wide(text: str) -> str:
    """Write in the letters of East Asian typography."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


def arabic(text: str) -> str:
    """Write with Arabic digits."""
    return "".join(chr(0x660 + int(letter)) if letter.isdigit() else letter for letter in text)


def scrub(text: str, region: str = "", known: list[Known] | None = None, **rules: object) -> str:
    return Scrubber(ExportSettings.model_validate(rules), region).conversation(known or [])(text)


@pytest.mark.parametrize(
    "address",
    [
        "anna@example.org", "Anna.O'Neil+news@mail.example.co.uk", "a@b.de", "ÄNNA@münchen.example",
        "x_y-z@xn--mnchen-3ya.de",
        "anna @ example.org", "anna(at)example.org", "anna [at] example [dot] org", "anna at example dot org",
        "anna%40example.org", "anna&#64;example.org", wide("anna@example.org"), "an\u200bna@exam\u00adple.org",
        '"anna smith"@example.org', "anna {ät} example {punkt} de",
    ],
)  # fmt: skip
def test_addresses_are_found_however_they_are_written(address: str) -> None:
    assert scrub(f"write to {address}, please") == "write to [EMAIL_1], please"


@pytest.mark.parametrize(
    "number",
    [
        # Examples of the registry of IBANs.
        "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19", "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S", "fr14 2004 1010 0505 0001 3M02 606", "BE68-5390-0754-7034",
    ],
)  # fmt: skip
def test_accounts_are_found_by_their_checksum(number: str) -> None:
    assert scrub(f"to {number} BIC COBADEFF.") == "to [IBAN_1] BIC COBADEFF."


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "3400 000000 00009", "6011000990139424",
        arabic("4111 1111 1111 1111"),
    ],
)  # fmt: skip
def test_cards_are_found_by_their_checksum(number: str) -> None:
    assert scrub(f"card {number} valid 12/27") == "card [CARD_1] valid 12/27"
    assert scrub(f"2 x {number}") == "2 x [CARD_1]"


@pytest.mark.parametrize("address", ["192.168.0.1", "2001:db8::8a2e:370:7334", "fe80::1", "::ffff:192.0.2.1"])
def test_addresses_of_machines_are_found(address: str) -> None:
    assert scrub(f"from {address}, I think") == "from [IP_1], I think"


@pytest.mark.parametrize("region", ["DE", "GB", "US", "PT", "FR", "ES", "BE", "AT", "CH", "NL", "IT", "BR"])
def test_telephone_numbers_are_found_as_their_plan_has_them(region: str) -> None:
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert number is not None
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    abroad = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    assert scrub(f"call {national} now", region) == "call [PHONE_1] now"
    for written in (abroad, abroad.replace("+", "00"), abroad.replace(" ", "-"), abroad.replace(" ", "")):
        assert scrub(f"call {written} now") == "call [PHONE_1] now"


def test_behind_a_word_for_it_a_number_is_one_of_a_telephone() -> None:
    assert scrub("tel: 555 123 45") == "tel: [PHONE_1]"
    assert scrub("Ruf an, Handynummer 0170/1234567!") == "Ruf an, Handynummer [PHONE_1]!"


@pytest.mark.parametrize(
    "text",
    [
        "Flight CRV204 at 10:30 on 2026-10-27 costs EUR 1,234.56 for 2 bags of 23 kg.", "booking 123456789012345",
        "std::vector<int> v1.2.3 a::b", "we are at home. dot the i", "@anna follows", "me@home",
        "DE89370400440532013001",
        "4111 1111 1111 1112", "0000 0000 0000 0000", "300.1.2.3", "12:30:45", "", "🙂 שלום",
    ],
)  # fmt: skip
def test_what_names_nobody_is_left_alone(text: str) -> None:
    assert scrub(text) == text


def test_the_same_value_has_the_same_placeholder_within_a_conversation() -> None:
    clean = Scrubber(ExportSettings(), "").conversation()
    assert clean("a@b.de or c@d.de") == "[EMAIL_1] or [EMAIL_2]"
    assert clean(f"A@B.de, {wide('+49')} 30 123456, +4930123456") == "[EMAIL_1], [PHONE_1], [PHONE_1]"
    assert Scrubber(ExportSettings(), "").conversation()("c@d.de") == "[EMAIL_1]"


def test_placeholders_of_two_conversations_compare_once_they_are_counted_anew() -> None:
    assert renumbered(["[EMAIL_7] and [PHONE_2]", "[EMAIL_9], [EMAIL_7]"]) == [
        "[EMAIL_1] and [PHONE_1]", "[EMAIL_2], [EMAIL_1]",
    ]  # fmt: skip


def test_names_that_are_known_are_found_as_words_of_their_own() -> None:
    known = [Known("NAME", text, "p") for text in ("Anna Wagner", "Anna", "Wagner", "Kim")] + [
        Known("ID", "CV370367", "x")
    ]
    text = "I am anna  WAGNER (Wagner), not Annabel; card cv370367; kim and Kim"
    assert scrub(text, known=known) == "I am [NAME_1] ([NAME_1]), not Annabel; card [ID_1]; kim and [NAME_1]"
    assert scrub("Anna", known=known, scrub=["email"]) == "Anna"


def test_patterns_of_the_settings_go_first() -> None:
    patterns = [{"name": "BOOKING", "pattern": r"\bCRV-[0-9]{6}(-[A-Z]{1,3})?\b", "ignore_case": True}]
    assert scrub("crv-123456-AB, CRV-123456-ab, CRV-12345", patterns=patterns) == "[BOOKING_1], [BOOKING_1], CRV-12345"


def test_what_overlaps_is_taken_out_whole() -> None:
    patterns = [{"name": "LOCAL", "pattern": "anna@ex"}]
    assert scrub("to anna@example.org!", patterns=patterns) == "to [LOCAL_1]!"


@pytest.mark.parametrize(
    "evil",
    [
        "a@" * 50_000, "a." * 50_000 + "@", "@a." * 40_000, "DE89 " * 20_000, "+1" * 50_000, ":" * 100_000,
        "4" * 100_000,
        "4111 " * 20_000, "1.1." * 30_000, "x at " * 20_000, "[at]" * 30_000, '"' * 100_000 + "@x.de", "tel 1" * 20_000,
        "a at b dot " * 10_000, "\u200b" * 100_000, "(" * 100_000,
    ],
)  # fmt: skip
def test_no_text_takes_long(evil: str) -> None:
    begin = time.process_time()
    scrub(evil, "DE")
    # Less than a tenth of it is needed; what grows with the square of the length would need minutes.
    assert time.process_time() - begin < 10
