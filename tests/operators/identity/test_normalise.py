"""What each normaliser makes of what people and programs write. The expectations are written by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from operators.identity.normalise import Normalise, normaliser
from operators.identity.rules import Normaliser
from operators.identity.texts import Refusal

PARTS: tuple[Normaliser, ...] = ("email", "phone", "code", "document", "name", "date", "postcode")


def outcome(normalise: Normalise, value: object) -> str:
    """Return the text, or the reason of a refusal between angles."""
    made = normalise(value)
    return f"<{made.reason}>" if isinstance(made, Refusal) else made


NOT_AN_ADDRESS = "<not an e-mail address>"
NONE = "<placeholder>"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("anna@silva.example", "anna@silva.example"),
        ("Anna@Silva.EXAMPLE", "anna@silva.example"),
        ("  anna@silva.example\t", "anna@silva.example"),
        ("Anna Silva <anna@silva.example>", "anna@silva.example"),
        ('"Silva, Anna" <Anna@silva.example>', "anna@silva.example"),
        ("<anna@silva.example>", "anna@silva.example"),
        ("mailto:anna@silva.example", "anna@silva.example"),
        ("MAILTO:anna%2Bnews@silva.example?subject=Hi%20you", "anna+news@silva.example"),
        ("anna@silva.example.", "anna@silva.example"),
        ("anna@silva.example;", "anna@silva.example"),
        ("anna@silva.example, ", "anna@silva.example"),
        ('"anna.s"@silva.example', "anna.s@silva.example"),
        ("anna.s+news@silva.example", "anna.s+news@silva.example"),
        ("o'brien@silva.example", "o'brien@silva.example"),
        ("anna@MÜNCHEN.example", "anna@xn--mnchen-3ya.example"),
        ("anna@mu\u0308nchen.example", "anna@xn--mnchen-3ya.example"),
        ("anna@xn--mnchen-3ya.example", "anna@xn--mnchen-3ya.example"),
        ("anna@silva\u3002example", "anna@silva.example"),
        ("ЖУК@пример.рф", "жук@xn--e1afmkfd.xn--p1ai"),
        ("JOSÉ@silva.example", "josé@silva.example"),
        ("\uff41\uff4e\uff4e\uff41\uff20silva.example", "anna@silva.example"),
        ("an\u200bna@silva.example\ufeff", "anna@silva.example"),
        # Aliases of providers.
        ("Anna.B.Silva+trips@gmail.com", "annabsilva@gmail.com"),
        ("annabsilva@googlemail.com", "annabsilva@gmail.com"),
        ("anna.b+x+y@hotmail.co.uk", "anna.b@hotmail.co.uk"),
        ("anna+x@outlook.com", "anna@outlook.com"),
        ("anna+x@icloud.com", "anna@icloud.com"),
        ("anna+x@me.com", "anna@me.com"),
        ("anna+x@fastmail.fm", "anna@fastmail.fm"),
        ("anna+x@proton.me", "anna@proton.me"),
        ("anna-x@yahoo.com.br", "anna@yahoo.com.br"),
        ("anna+x@yahoo.com", "anna+x@yahoo.com"),
        ("anna-x@yahoo.co.jp", "anna-x@yahoo.co.jp"),
        ("anna-x@gmail.com", "anna-x@gmail.com"),
        # What is none.
        ("+x@gmail.com", NOT_AN_ADDRESS),
        ("...@gmail.com", NOT_AN_ADDRESS),
        ("anna", NOT_AN_ADDRESS),
        ("anna@", NOT_AN_ADDRESS),
        ("@silva.example", NOT_AN_ADDRESS),
        ("anna@silva", NOT_AN_ADDRESS),
        ("anna silva@silva.example", NOT_AN_ADDRESS),
        ("anna..s@silva.example", NOT_AN_ADDRESS),
        (".anna@silva.example", NOT_AN_ADDRESS),
        ("anna@silva..example", NOT_AN_ADDRESS),
        ("anna@-silva.example", NOT_AN_ADDRESS),
        ("anna@sil_va.example", NOT_AN_ADDRESS),
        ("anna@192.168.1.1", NOT_AN_ADDRESS),
        ("anna@[192.168.1.1]", NOT_AN_ADDRESS),
        ("an|na@silva.example", NOT_AN_ADDRESS),
        ("anna\x00@silva.example", NOT_AN_ADDRESS),
        ("anna." * 13 + "s@silva.example", NOT_AN_ADDRESS),
        ("anna@" + "a" * 64 + ".example", NOT_AN_ADDRESS),
        ("anna@" + ".".join(["abcdefgh"] * 30) + ".example", NOT_AN_ADDRESS),
        ("anna@silva.example, rui@silva.example", "<more than one e-mail address>"),
        ("anna@silva.example rui@silva.example", "<more than one e-mail address>"),
        ("an\ud800na@silva.example", "<not a text>"),
        # What stands for none.
        ("test@test.com", NONE),
        ("test17@silva.example", NONE),
        ("TEST+1@gmail.com", NONE),
        ("noreply@silva.example", NONE),
        ("no-reply@silva.example", NONE),
        ("do_not_reply-88@silva.example", NONE),
        ("no-reply@yahoo.com", NONE),
        ("none@silva.example", NONE),
        ("unbekannt@silva.example", NONE),
        ("xxx@silva.example", NONE),
        ("a@a.com", NONE),
        ("na@na.com", NONE),
        ("info@example.com", NONE),
        ("n/a", NONE),
        ("-", NONE),
        # What only looks like it.
        ("anna@example.com", "anna@example.com"),
        ("info@silva.example", "info@silva.example"),
        ("n.a@silva.example", "n.a@silva.example"),
        ("abc@silva.example", "abc@silva.example"),
        ("testa@silva.example", "testa@silva.example"),
    ],
)
def test_one_mailbox_has_one_address(written: str, expected: str) -> None:
    assert outcome(normaliser("email"), written) == expected


def test_addresses_of_known_providers_are_left_alone_where_that_is_switched_off() -> None:
    normalise = normaliser("email", email_aliases=False)
    assert normalise("A.B+x@gmail.com") == "a.b+x@gmail.com"
    assert normalise("ab@googlemail.com") == "ab@googlemail.com"


@pytest.mark.parametrize("aliases", [True, False])
def test_own_domains_go_before_known_ones_and_are_always_folded(aliases: bool) -> None:
    normalise = normaliser(
        "email",
        email_aliases=aliases,
        email_providers={"Silva.example": "plus-dots", "MÜNCHEN.example": "minus", "googlemail.com": "none"},
    )
    assert normalise("a.b+c@silva.example") == "ab@silva.example"
    assert normalise("a-b@münchen.example") == "a@xn--mnchen-3ya.example"
    assert normalise("a.b+c@googlemail.com") == "a.b+c@googlemail.com"


def test_a_provider_that_is_no_domain_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'no domain' is no domain of e-mail addresses"):
        normaliser("email", email_providers={"no domain": "plus"})


NOT_A_NUMBER = "<not a phone number>"
SERVICE = "<the number of a service>"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("+351912345678", "+351912345678"),
        ("+351 912 345 678", "+351912345678"),
        ("912345678", "+351912345678"),
        ("912 345 678", "+351912345678"),
        ("912-345-678", "+351912345678"),
        ("912.345.678", "+351912345678"),
        ("(912) 345678", "+351912345678"),
        ("00351 912 345 678", "+351912345678"),
        ("(+351) 912 345 678", "+351912345678"),
        ("+351\u00a0912\u2011345\u2013678", "+351912345678"),
        ("\uff0b351 912 345 678", "+351912345678"),
        ("+٣٥١ ٩١٢ ٣٤٥ ٦٧٨", "+351912345678"),
        ("tel:+351912345678", "+351912345678"),
        ("Tel.: 912 345 678", "+351912345678"),
        ("Telemóvel 912345678", NOT_A_NUMBER),
        ("telemovel 912345678", "+351912345678"),
        (912345678, "+351912345678"),
        (912345678.0, "+351912345678"),
        (Decimal("912345678"), "+351912345678"),
        ("+49 (0)30 901820", "+4930901820"),
        ("+49 30/90 18 20", "+4930901820"),
        ("+4930901820", "+4930901820"),
        ("+39 06 6982 1234", "+390669821234"),
        ("+44 20 7946 0958", "+442079460958"),
        ("+1 (212) 736-5000", "+12127365000"),
        ("001 212 736 5000", "+12127365000"),
        ("+49 30 901820 ext. 12", "+4930901820;ext=12"),
        ("+49 30 901820;ext=12", "+4930901820;ext=12"),
        ("+49 30 901820 x12", "+4930901820;ext=12"),
        ("+49 30 901820, Durchwahl 12", "+4930901820;ext=12"),
        ("+1 900 234 5678", SERVICE),
        ("+351 800 206 009", SERVICE),
        ("800 206 009", SERVICE),
        ("+1 800 555 0199", SERVICE),
        ("+44 844 493 0787", SERVICE),
        ("112", NOT_A_NUMBER),
        ("911", NOT_A_NUMBER),
        ("1820", NOT_A_NUMBER),
        ("+351 912 345 67", NOT_A_NUMBER),
        ("+351 912 345 678 9", NOT_A_NUMBER),
        ("912345678 / 913456789", NOT_A_NUMBER),
        ("+999 123 456 780", NOT_A_NUMBER),
        ("+351", NOT_A_NUMBER),
        ("call me", NOT_A_NUMBER),
        ("1-800-FLOWERS", NOT_A_NUMBER),
        ("912345678 after five", NOT_A_NUMBER),
        ("912 345 678 /", "+351912345678"),
        ("*100#", NOT_A_NUMBER),
        ("9" * 101, NOT_A_NUMBER),
        (-912345678, "<a negative number>"),
        (912.5, "<a number with a fraction>"),
        ("000000", NONE),
        ("000 000 000", NONE),
        ("999999999", NONE),
        ("123456789", NONE),
        ("+351 123 456 789", NONE),
        ("+49 000 000000", NONE),
        ("+49 30 0000000", NONE),
        ("n/a", NONE),
        ("k.A.", NONE),
        ("?", NONE),
        ("xxxxxxxxx", NONE),
    ],
)
def test_one_line_has_one_number(written: object, expected: str) -> None:
    assert outcome(normaliser("phone", region="PT"), written) == expected


@pytest.mark.parametrize(
    ("written", "region", "expected"),
    [
        ("912345678", "", "<no country: set `region`>"),
        ("00351912345678", "", "<no country: set `region`>"),
        ("+351912345678", "", "+351912345678"),
        ("030 901820", "DE", "+4930901820"),
        ("030 901820", "de", "+4930901820"),
        ("0049 30 901820", "DE", "+4930901820"),
        ("011 49 30 901820", "US", "+4930901820"),
        ("011 49 30 901820", "DE", NOT_A_NUMBER),
        ("(212) 736-5000", "US", "+12127365000"),
        ("+351912345678", "US", "+351912345678"),
        ("06 6982 1234", "IT", "+390669821234"),
    ],
)
def test_a_number_without_a_country_is_one_of_the_region(written: str, region: str, expected: str) -> None:
    assert outcome(normaliser("phone", region=region), written) == expected


def test_a_region_that_is_no_country_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'XX' is no country of telephone numbers"):
        normaliser("phone", region="XX")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("tp-1234 567.8", "TP12345678"),
        ("TP_12345678", "TP12345678"),
        ("tp\u20131234\u00a05678", "TP12345678"),
        ("\uff34\uff301234", "TP1234"),
        ("٤٧١١٩", "47119"),
        ("00471", "00471"),
        (47119, "47119"),
        (Decimal("47119.00"), "47119"),
        (10**40 + 7, "1" + "0" * 39 + "7"),
        ("8d5f-22aa", "8D5F22AA"),
        ("ab|12|34", "AB1234"),
        ("00A\u00af", "<fewer than 4 characters>"),
        ("größe9", "GRÖSSE9"),
        ("471", "<fewer than 4 characters>"),
        (7, "<fewer than 4 characters>"),
        ("A-1", "<fewer than 4 characters>"),
        ("1111", NONE),
        ("AAAAAA", NONE),
        ("00000000-0000-0000-0000-000000000000", NONE),
        ("12345", NONE),
        ("1234567890123", NONE),
        ("012345", NONE),
        ("987654321", NONE),
        ("54321", NONE),
        ("45678", "45678"),
        ("unknown", NONE),
        ("N / A", NONE),
        ("(keine Angabe)", NONE),
        ("sem dados", NONE),
        ("9774d56d682e549c", NONE),
        ("-4711", "<a negative number>"),
        (-4711, "<a negative number>"),
        (1e300, "<not a text>"),
        (float("nan"), "<not a text>"),
        (Decimal("NaN"), "<not a text>"),
        (Decimal("1E+1000000"), "<not a text>"),
        (Decimal("1E-1000000"), "<a number with a fraction>"),
        pytest.param(10**5000, "<longer than 1,000 characters>", id="many digits"),
        (True, "<not a text>"),
        ({"number": 4711}, "<not a text>"),
        (["47119"], "<not a text>"),
        (None, "<empty>"),
        (" \t\u200b", "<empty>"),
        ("4" * 1001, "<longer than 1,000 characters>"),
        ("\ufdfa" * 1000, "<longer than 1,000 characters>"),
    ],
)
def test_a_code_has_no_case_and_no_separators(written: object, expected: str) -> None:
    assert outcome(normaliser("code"), written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("L898902C3", "L898902C3"),
        ("l898902c<3", "L898902C3"),
        ("D23145890<<<<<", "D23145890"),
        ("d23 145-890", "D23145890"),
        ("<<<<<<<<<", NONE),
        ("000000<<", NONE),
        ("X1<<", "<fewer than 4 characters>"),
    ],
)
def test_a_document_number_has_no_fillers(written: str, expected: str) -> None:
    assert outcome(normaliser("document"), written) == expected


SINGLE = "<a single name>"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("João Silva", "joao silva"),
        ("SILVA, João", "joao silva"),
        ("Silva João", "joao silva"),
        ("  joão   silva ", "joao silva"),
        ("Joa\u0303o Silva", "joao silva"),
        ("Maria-José da Silva", "da jose maria silva"),
        ("Seán O'Brien", "obrien sean"),
        ("Sean O\u2019Brien", "obrien sean"),
        ("Jürgen Groß", "gross jurgen"),
        ("Juergen Gross", "gross jurgen"),
        ("JÜRGEN GROẞ", "gross jurgen"),
        ("Søren Kjær", "kjar soren"),
        ("Soeren Kjaer", "kjar soren"),
        ("Åse Gaarder", "ase garder"),
        ("Miguel Ángel Núñez", "angel migul nunez"),
        ("Łukasz Żółć", "lukasz zolc"),
        ("Þóra Björnsdóttir", "bjornsdottir thora"),
        ("İpek Y\u0131lmaz", "ipek yilmaz"),
        ("Ольга Иванова", "ivanova olga"),
        ("Γιώργος Παπαδόπουλος", "giorgos papadopoulos"),
        ("ΓΙΏΡΓΟΣ ΠΑΠΑΔΌΠΟΥΛΟΣ", "giorgos papadopoulos"),
        ("Ευαγγελία Αυγερινού", "avgerinou evangelia"),
        ("Χρήστος Ευθυμίου", "christos efthymiou"),
        ("Μπάμπης Πέτρου", "bampis petrou"),
        ("王小明", "ming wang xiao"),
        ("王 小明", "ming wang xiao"),
        ("김민준", "gim jun min"),
        ("やまだ たろう", "tarou yamada"),
        ("श्री राम", "ram sri"),
        # Titles.
        ("Dr. João Silva", "joao silva"),
        ("Silva, Dr. João", "joao silva"),
        ("João Silva, PhD", "joao silva"),
        ("João Silva, Ph.D.", "joao silva"),
        ("Frau Dr.-Ing. Jana Groß", "gross jana"),
        ("Dipl.-Ing. Jana Groß", "gross jana"),
        ("Prof. Dr. rer. nat. h. c. Jana Groß", "gross jana"),
        ("Sr. João Silva", "joao silva"),
        ("Silva, Sr. João", "joao silva"),
        ("Exma. Sra. Dra. Ana Reis", "ana reis"),
        ("Eng. Ana Reis", "ana reis"),
        ("Eng Wei Ling", "eng ling wei"),
        ("Mrs Ana Reis", "ana reis"),
        ("Mlle Ana Reis", "ana reis"),
        # Father and son.
        ("John Reis Sr.", "john reis sr"),
        ("John Reis, Sr.", "john reis sr"),
        ("Reis Sr., John", "john reis sr"),
        ("John Reis Jr.", "john reis jr"),
        ("Reis, John, Jnr", "john reis jr"),
        ("João Reis Júnior", "joao reis jr"),
        ("John Reis III", "john reis iii"),
        ("John Reis 3rd", "john reis iii"),
        # What is none.
        ("Silva", SINGLE),
        ("Dr. Silva", SINGLE),
        ("Silva Jr", SINGLE),
        ("4711 0815", "<not a name>"),
        ("joao.silva@silva.example", "<not a name>"),
        ("\U0001f600 \U0001f600", NONE),
        ("Dr.", "<not a name>"),
        ("n/a", NONE),
        ("n/a n/a", NONE),
        ("unknown unknown", NONE),
        ("Test Test", NONE),
        ("John Doe", NONE),
        ("Mustermann, Max", NONE),
        ("xxx", NONE),
        (4711, "<not a name>"),
    ],
)
def test_one_name_is_one_set_of_words(written: object, expected: str) -> None:
    assert outcome(normaliser("name"), written) == expected


NOT_A_DATE = "<not a date>"
AMBIGUOUS = "<ambiguous date>"
NO_SUCH_DAY = "<no such day>"
OUT_OF_RANGE = "<a year out of range>"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1984-03-12", "1984-03-12"),
        (" 1984-03-12 ", "1984-03-12"),
        ("1984-3-2", "1984-03-02"),
        ("1984/03/12", "1984-03-12"),
        ("1984.03.12", "1984-03-12"),
        ("1984-03-12T00:00:00", "1984-03-12"),
        ("1984-03-12 00:00:00.000", "1984-03-12"),
        ("1984-03-12T23:30:00.123456789Z", "1984-03-12"),
        ("1984-03-12T00:00:00+01:00", "1984-03-12"),
        ("1984-03-12 00:00:00+00", "1984-03-12"),
        ("1984\u201303\u201312", "1984-03-12"),
        ("١٩٨٤-٠٣-١٢", "1984-03-12"),
        ("\uff11\uff19\uff18\uff14-03-12", "1984-03-12"),
        ("19840312", "1984-03-12"),
        ("19840312T103000Z", "1984-03-12"),
        ("12.03.1984", "1984-03-12"),
        ("12.3.1984", "1984-03-12"),
        ("12. 3. 1984", "1984-03-12"),
        ("12.03.1984 00:00:00", "1984-03-12"),
        ("13/03/1984", "1984-03-13"),
        ("03/13/1984", "1984-03-13"),
        ("13-03-1984", "1984-03-13"),
        ("05/05/1984", "1984-05-05"),
        ("12 Mar 1984", "1984-03-12"),
        ("12-MAR-1984", "1984-03-12"),
        ("12th March 1984", "1984-03-12"),
        ("March 12, 1984", "1984-03-12"),
        ("Sept 3, 1984", "1984-09-03"),
        ("2024-02-29", "2024-02-29"),
        ("12/03/1984", AMBIGUOUS),
        ("3/4/1984", AMBIGUOUS),
        ("03-12-1984", AMBIGUOUS),
        ("12.03.84", AMBIGUOUS),
        ("13/03/84", AMBIGUOUS),
        ("12-MAR-84", AMBIGUOUS),
        ("2023-02-29", NO_SUCH_DAY),
        ("31.04.1984", NO_SUCH_DAY),
        ("13/13/1984", NO_SUCH_DAY),
        ("1984-00-12", NO_SUCH_DAY),
        ("20121984", NO_SUCH_DAY),
        ("12031984", OUT_OF_RANGE),
        ("0984-03-12", OUT_OF_RANGE),
        ("2984-03-12", OUT_OF_RANGE),
        ("1984-03", NOT_A_DATE),
        ("1984", NOT_A_DATE),
        ("1984-W11-1", NOT_A_DATE),
        ("12 Foo 1984", NOT_A_DATE),
        ("yesterday", NOT_A_DATE),
        ("1984-03-12 and later", NOT_A_DATE),
        ("+11984-03-12", NOT_A_DATE),
        (5184, "<a number, not a date: set its encoding in `columns`, such as `date-days`>"),
        (19840312, "<a number, not a date: set its encoding in `columns`, such as `date-days`>"),
        ("1900-01-01", NONE),
        ("01.01.1900", NONE),
        ("01/01/1900", NONE),
        ("1970-01-01T00:00:00Z", NONE),
        ("1111-11-11", NONE),
        ("11111111", NONE),
        ("9999-12-31", NONE),
        ("31.12.9999", NONE),
        ("0001-01-01", NONE),
        ("0000-00-00", NONE),
        ("00000000", NONE),
        ("0000-00-00 00:00:00", NONE),
        ("infinity", NONE),
        ("unbekannt", NONE),
        ("", "<empty>"),
    ],
)
def test_one_day_has_one_date_and_none_is_guessed(written: object, expected: str) -> None:
    assert outcome(normaliser("date"), written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1000-001", "1000001"),
        ("1000 001", "1000001"),
        (10115, "10115"),
        ("10115", "10115"),
        ("sw1a 1aa", "SW1A1AA"),
        ("SW1A1AA", "SW1A1AA"),
        ("1012 ab", "1012AB"),
        ("K1A\u20110B1", "K1A0B1"),
        ("00000", NONE),
        ("0000-000", NONE),
        ("12345", NONE),
        ("99999", NONE),
        ("xxxxx", NONE),
        ("n/a", NONE),
        ("Lisboa", "<not a postcode>"),
        ("1000-001 Lisboa", "<not a postcode>"),
        ("1", "<not a postcode>"),
        ("12#45", "<not a postcode>"),
    ],
)
def test_a_postcode_has_no_case_blanks_or_dashes(written: object, expected: str) -> None:
    assert outcome(normaliser("postcode"), written) == expected


WORDS = ["n/a", "N.A.", "(none)", "NULL", "<unknown>", "tbd", "-", "--", "?", "???", "keine", "sem dados", "não tem"]
WORDS += ["desconhecido", "Néant", "ninguno", "onbekend", "brak", "неизвестно", "不明", "なし", "XXXX"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("part", PARTS)
def test_a_word_for_nothing_is_a_placeholder_whatever_it_was_to_be(part: Normaliser, word: str) -> None:
    assert outcome(normaliser(part, region="PT"), word) == NONE


HOSTILE: list[Any] = [
    *("\ud800", "\x00", "a" * 10**6, "@" * 1000, "1 " * 499 + "z", "1" + " " * 998 + "z", "<" * 999, "a@" * 499),
    *("\u0300" * 1000, "A\u0300" * 500, "\u202e", "%" * 999, "mailto:" + "%00" * 300, "-" * 1000, "|" * 50),
    *(10**5000, -(10**5000), float("inf"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1E+999999"), object()),
    *([], {}, [[]], b"bytes", 1j, False),
]


@pytest.mark.parametrize("part", PARTS)
def test_a_hostile_value_is_refused_with_a_reason(part: Normaliser) -> None:
    normalise = normaliser(part, region="PT")
    for value in HOSTILE:
        made = normalise(value)
        if isinstance(made, Refusal):
            assert made.reason
        else:
            assert 0 < len(made) <= 1000
            assert "|" not in made
            made.encode()
