from __future__ import annotations

import io
import time
import zipfile

import msgspec
import pytest

from events.documents import DocumentChange
from events.errors import RejectedError
from operators.documents.parse import DOCX, HTML, MARKDOWN, PDF, PLAIN, ParsedDocument, media_type_of, parse


def change(content: bytes | str | None, media_type: str = MARKDOWN, **fields: object) -> DocumentChange:
    encoded = content.encode() if isinstance(content, str) else content
    made = {"uri": "guides/My guide.v2.md", "title": "", **fields}
    return msgspec.convert(
        {
            "source": "docs",
            "op": "upsert",
            "position": 1,
            "event_time": 1,
            "content": encoded,
            "media_type": media_type,
            **made,
        },
        DocumentChange,
    )


def parsed(content: bytes | str | None, media_type: str = MARKDOWN, **fields: object) -> ParsedDocument:
    return parse(change(content, media_type, **fields))


def rejection(content: bytes | str, media_type: str = MARKDOWN) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        parsed(content, media_type)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("a/b.md", MARKDOWN),
        ("B.MARKDOWN", MARKDOWN),
        ("a.txt", PLAIN),
        ("a.HTM", HTML),
        ("x.y/c.pdf", PDF),
        ("c.docx", DOCX),
        ("c.doc", None),
        ("md", None),
        ("a.md/b", None),
    ],
)
def test_the_extension_tells_the_media_type(uri: str, expected: str | None) -> None:
    assert media_type_of(uri) == expected


def test_a_type_that_is_not_read_is_rejected() -> None:
    assert rejection(b"PK", "application/zip").detail == "documents of type 'application/zip' cannot be read"


def test_a_delete_and_an_empty_document_have_no_text() -> None:
    for content in (None, b"", b" \n\n"):
        for media_type in (MARKDOWN, PLAIN, HTML):
            assert parsed(content, media_type).text == ""


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_decoded_by_its_byte_order_mark(encoding: str) -> None:
    assert parsed("# Größe\r\n\r\nText\rhier".encode(encoding)).text == "# Größe\n\nText\nhier"


def test_bytes_that_are_no_text_are_named() -> None:
    assert rejection(b"hello world 12345\xff").detail == "not UTF-8 text: byte 0xff at offset 17"
    assert rejection(b"\xef\xbb\xbfab\xff").detail == "not UTF-8 text: byte 0xff at offset 5"
    assert rejection("größer\0".encode()).detail == "not text: byte 0x00 at offset 8"
    assert rejection(b"\xff\xfea\0b").detail.startswith("not UTF-16 text")
    assert rejection("wide".encode("utf-16-le")).detail == "not text: byte 0x00 at offset 1"


def test_the_language_is_told() -> None:
    text = "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft begabt."
    assert parsed(text).language == "de"
    assert parsed("OK").language == ""


def test_plain_text_stays_as_it_is() -> None:
    found = parsed("---\naudience: staff\n---\n# no heading\n", PLAIN)
    assert found.plain
    assert found.text == "---\naudience: staff\n---\n# no heading\n"
    assert found.audience == ("public",)


# Titles


@pytest.mark.parametrize(
    ("content", "title", "expected"),
    [
        ("---\ntitle: Front\n---\n# Heading", "Source", "Front"),
        ("## Second\n\n# First\n\n# Next", "Source", "First"),
        ("```\n# code\n```\n", "Source", "Source"),
        ("Set **ext** `x` [link](http://example.com/) <b>y</b>\n===\n", "", "Set ext x link y"),
        ("text", "", "My guide.v2"),
    ],
)
def test_a_title_is_the_best_that_is_known(content: str, title: str, expected: str) -> None:
    assert parsed(content, title=title).title == expected


def test_a_title_beside_the_text_becomes_its_first_heading() -> None:
    assert parsed("---\ntitle: Front\n---\n## Second\n\nText.").text == "# Front\n\n## Second\n\nText."
    assert parsed("---\ntitle: Front\n---\n# Own\n\nText.").text == "# Own\n\nText."


# Front matter


def test_front_matter_says_title_audience_and_more() -> None:
    found = parsed(
        "---\nTitle: 'Pay bands'\naudience: [staff, hr, staff]\n"
        "version: 3\ndraft: no\nsince: 2024-02-01\ntags: [a]\n---\n# X\n",
        audience=("public",),
        metadata={"owner": "finance", "version": "1"},
    )
    assert found.title == "Pay bands"
    assert found.audience == ("staff", "hr")
    assert found.metadata == {"owner": "finance", "version": "3", "draft": "false", "since": "2024-02-01"}
    assert found.text == "# X\n"


@pytest.mark.parametrize(
    ("audience", "expected"),
    [("staff", ("staff",)), ("staff, hr", ("staff", "hr")), ("[]", ()), ("\n- staff\n- hr", ("staff", "hr"))],
)
def test_an_audience_is_a_label_or_a_list_of_them(audience: str, expected: tuple[str, ...]) -> None:
    for text in (f"---\naudience: {audience}\n---\nText.", f"\n\n---\nAudience: {audience}\n...\nText."):
        assert parsed(text).audience == expected


def test_without_front_matter_the_source_decides_who_may_read() -> None:
    assert parsed("Text.", audience=("staff",)).audience == ("staff",)
    assert parsed("---\ntitle: A\n---\nText.", audience=()).audience == ()


@pytest.mark.parametrize(
    "front",
    [
        "title: [unclosed",
        "title: a: b",
        "audience:",
        "audience: 7",
        "audience: [staff, 7]",
        "audience: {a: b}",
        "audience: ['']",
        "{audience: staff",
        "audience: staff\nAudience: public",
        "audience: staff\naudience: public",
        "a: &x [1, 2]\nb: [*x, *x]",
        "a: " + "[" * 8000,
        "a: " + "x" * 20_000,
        "when: 2024-13-45",
        "a: \x01",
        "a: !!python/object/apply:os.system [ls]",
    ],
)
def test_front_matter_that_cannot_be_read_rejects_its_document(front: str) -> None:
    assert rejection(f"---\n{front}\n---\nText.").detail.startswith("its front matter cannot be read: ")


@pytest.mark.parametrize("front", ["audience:staff", "audience:[staff]", "'audience' :staff", "Audience:staff"])
def test_an_audience_that_yaml_does_not_see_rejects_its_document(front: str) -> None:
    assert "front matter" in rejection(f"---\n{front}\n---\nText.").detail


def test_an_audience_behind_an_empty_line_of_front_matter_that_is_never_closed_rejects_its_document() -> None:
    assert "not closed" in rejection("---\ntitle: x\n\naudience: [staff]\n\nText.").detail


def test_escaped_surrogates_in_front_matter_become_the_characters_that_they_stand_for() -> None:
    found = parsed('---\ntitle: "\\ud83d\\ude00 fares"\nauthor: "\\ud83d"\n---\nText.')
    assert found.title == "\U0001f600 fares"
    assert found.metadata["author"] == "\ufffd"


def test_front_matter_that_is_never_closed_rejects_its_document() -> None:
    assert "not closed" in rejection("---\ntitle: A\naudience: staff\n\nText.").detail
    assert "not closed" in rejection("---\naudience: staff\n" + "a: b\n" * 300 + "---\n").detail


@pytest.mark.parametrize("text", ["---\n\nText.\n\n---\nMore.", "---\nText\n---\n", "---\nText.", "----\na: b\n---\n"])
def test_a_thematic_break_at_the_top_is_no_front_matter(text: str) -> None:
    found = parsed(text)
    assert found.text == text
    assert found.metadata == {}


def test_front_matter_keeps_no_more_than_it_may() -> None:
    many = "\n".join(f"key{number}: {'v' * 600 if number < 4 else 1}" for number in range(190))
    found = parsed(f"---\n{many}\n---\nText.")
    assert len(found.metadata) == 32
    assert len(found.metadata["key0"]) == 500


# HTML

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Refunds &amp; fees | Mill Air</title><script>let hidden = 1;</script></head>
<body><nav><a href="/">Start</a><a href="/flights">Flights</a></nav>
<header><h1>Refunds and fees</h1></header>
<main><p>Refunds are paid within fourteen days of the claim, to the card that paid. This holds for all fares.</p>
<h2>Fees</h2><table><tr><th>Fare</th><th>Fee</th></tr><tr><td>Light</td><td>60 EUR</td></tr></table>
<ul><li>first of all</li><li>after that</li></ul></main>
<footer>Cookie notice, imprint</footer></body></html>"""


def test_a_page_becomes_markdown_without_what_stands_around_it() -> None:
    found = parsed(PAGE, "text/html; charset=utf-8")
    assert found.title == "Refunds and fees"
    assert found.language == "en"
    assert found.text.startswith("# Refunds and fees\n\nRefunds are paid within")
    for part in ("## Fees", "| Light | 60 EUR |", "- first of all"):
        assert part in found.text
    for part in ("Flights", "Cookie", "hidden"):
        assert part not in found.text


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<html><body><p>Gate B12.</p></body></html>", "Gate B12."),
        ("<table><tr><td>Oslo</td><td>B12</td></tr></table>", "| Oslo | B12 |"),
        ("just text without a tag", "just text without a tag"),
        ("<h1>Hours</h1><p>Nine to five.</p>", "# Hours\n\nNine to five."),
        ('<p class="' + "x" * 3_000_000 + '">After a long attribute.</p>', "After a long attribute."),
        (
            '<?xml version="1.0" encoding="iso-8859-1"?><html><body><p>Grüße an alle.</p></body></html>',
            "Grüße an alle.",
        ),
    ],
)
def test_a_page_without_main_text_is_taken_whole(page: str, expected: str) -> None:
    assert expected in parsed(page, HTML).text


def test_a_page_of_nothing_but_markup_is_empty() -> None:
    assert parsed("<html><head><title>Empty</title></head><body><script>x</script></body></html>", HTML).text == ""


def test_a_page_may_declare_its_encoding() -> None:
    page = '<html><head><meta charset="iso-8859-1"></head><body><p>Grüße aus Köln.</p></body></html>'
    assert "Grüße aus Köln." in parsed(page.encode("latin-1"), HTML).text
    assert rejection(page.replace("iso-8859-1", "klingon").encode("latin-1"), HTML).detail.startswith("not klingon")
    assert rejection("<p>Grüße</p>".encode("latin-1"), HTML).detail.startswith("not UTF-8 text: byte 0xfc")


def test_an_entity_bomb_stays_small() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(12))
    found = parsed(f"<!DOCTYPE x [{entities}]><html><body><p>Text &e11; here.</p></body></html>", HTML)
    assert len(found.text) < 2000


@pytest.mark.parametrize("page", ["<div>" * 100_000 + "text" + "</div>" * 100_000, "<b>" * 50_000 + "text"])
def test_a_page_nested_too_deeply_is_rejected(page: str) -> None:
    assert "nested too deeply" in rejection(page, HTML).detail


# PDF and DOCX


LOCKS = ("the owner's", "the user's")


def pdf(*pages: tuple[tuple[str, str], ...], title: str = "", locked: bool = False) -> bytes:
    fpdf = pytest.importorskip("fpdf")
    made = fpdf.FPDF()
    if title:
        made.set_title(title)
    if locked:
        made.set_encryption(*LOCKS)
    for page in pages:
        made.add_page()
        for heading, text in page:
            made.set_font("helvetica", "B", 20)
            made.multi_cell(0, 10, heading, new_x="LMARGIN", new_y="NEXT")
            made.set_font("helvetica", "", 11)
            made.multi_cell(0, 6, text, new_x="LMARGIN", new_y="NEXT")
            made.ln(3)
    return bytes(made.output())


REFUNDS = "The refund is paid to the card that paid for the ticket. " * 8


def test_a_pdf_keeps_its_headings_also_at_the_top_of_a_page() -> None:
    content = pdf(
        (("Refund policy", REFUNDS), ("Exceptions", REFUNDS)),
        (("Second page", REFUNDS), ("Its end", REFUNDS)),
        title="T",
    )
    found = parsed(content, PDF)
    for heading in ("# Refund policy", "# Exceptions", "# Second page", "# Its end"):
        assert heading in found.text
    assert found.text.count("The refund is paid") == 32
    assert found.title == "Refund policy"
    assert found.language == "en"


def test_a_pdf_without_headings_is_named_by_its_metadata() -> None:
    fpdf = pytest.importorskip("fpdf")
    made = fpdf.FPDF()
    made.set_title("Terms of 2026")
    made.add_page()
    made.set_font("helvetica", "", 11)
    made.multi_cell(0, 6, REFUNDS)
    assert parsed(bytes(made.output()), PDF).title == "Terms of 2026"


def test_a_pdf_of_pictures_is_rejected() -> None:
    assert rejection(pdf(()), PDF).detail == "no text in it: probably scanned pages"


def test_a_pdf_that_is_locked_or_damaged_is_rejected() -> None:
    whole = pdf((("Heading", REFUNDS),))
    assert rejection(pdf((("Heading", REFUNDS),), locked=True), PDF).detail == "the PDF is locked by a password"
    for content in (b"", b"no pdf", whole[:300], b"%PDF-1.7\n" + b"\0" * 1000):
        assert rejection(content, PDF).detail.startswith(("not a readable PDF", "no text in it"))


def test_a_word_document_keeps_headings_and_tables() -> None:
    found = parsed(word("Baggage rules", "Baggage", "One bag of 23 kg is free."), DOCX)
    assert found.title == "Baggage"
    assert found.text.startswith("# Baggage\n\nOne bag of 23 kg is free.\n\n| Class | Bags |")
    assert parsed(word("Baggage rules", "", "One bag."), DOCX).title == "Baggage rules"


def test_a_word_document_without_text_is_empty() -> None:
    docx = pytest.importorskip("docx")
    file = io.BytesIO()
    docx.Document().save(file)
    assert parsed(file.getvalue(), DOCX).text == ""


def test_a_word_document_that_is_damaged_is_rejected() -> None:
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "text")
    for content in (b"", b"PK no archive", word("a", "b", "c")[:2000], other.getvalue()):
        assert rejection(content, DOCX).detail.startswith("not a readable DOCX")


def word(title: str, heading: str, text: str) -> bytes:
    docx = pytest.importorskip("docx")
    made = docx.Document()
    made.core_properties.title = title
    if heading:
        made.add_heading(heading, 1)
    made.add_paragraph(text)
    table = made.add_table(rows=2, cols=2)
    for number, cell in enumerate(("Class", "Bags", "Y", "1")):
        table.cell(number // 2, number % 2).text = cell
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


@pytest.mark.parametrize("text", ["[" * 2_000_000, "# " + "*" * 2_000_000, "---\n" * 300_000, "<a " * 500_000])
def test_no_markdown_takes_long(text: str) -> None:
    parsed("A first text, long enough that the language is looked at, loads the model.")
    started = time.process_time()
    parsed(text)
    assert time.process_time() - started < 10
