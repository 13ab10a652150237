"""HTML, PDF and DOCX as Markdown: the seam to the libraries that read them.

Invariant: a document that holds text comes out with text or is rejected; none becomes empty in silence. The
libraries load when they are first needed.
"""

from __future__ import annotations

import functools
from html.parser import HTMLParser
from typing import Any

import msgspec

from events.errors import RejectedError

_KEPT_AT_LEAST = 0.5
_KEPT_OF_PDF = 0.8
_LONGEST_REASON = 200
_LONGEST_TITLE = 300
_LANGUAGE_CODE = 2
_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "title"})
_BESIDE = frozenset({"nav", "footer", "aside", "form", "button", "select"})
_PDF = "application/pdf"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


class Extract(msgspec.Struct, frozen=True):
    """What was found in a document: text, a title beside it, the language it declares.

    `plain` tells that nothing in `text` is markup.
    """

    text: str
    title: str = ""
    language: str = ""
    plain: bool = False


def read_html(source: str) -> Extract:
    """Return the main text of a page as Markdown, without navigation and notices.

    Where the extraction of the main text drops more than half of what stands outside of navigation and the like,
    as it does with short pages and bare tables, the whole page is taken.

    :raises RejectedError: When there is text in the page but none of it can be read.
    """
    import trafilatura

    page = _Page()
    page.feed(source)
    page.close()
    title = page.first("h1") or page.first("title")
    language = page.language[:_LANGUAGE_CODE].lower() if page.language[_LANGUAGE_CODE:][:1] in ("", "-", "_") else ""
    if not page.words:
        return Extract("", title, language)
    text = trafilatura.extract(
        _without_declaration(source),
        output_format="markdown",
        include_formatting=True,
        include_tables=True,
        include_comments=False,
        favor_recall=True,
        config=_settings(),
    )
    if not text or len(text.split()) < page.main_words * _KEPT_AT_LEAST:
        whole, _ = _extract(_without_head(source).encode(), "text/html")
        text = max(text or "", whole, key=lambda found: len(found.split()))
    if not text.strip():
        detail = "its HTML cannot be read: nested too deeply, or broken"
        raise RejectedError(detail, "simplify the page, or exclude it")
    return Extract(text, title, language)


@functools.cache
def _settings() -> Any:
    from trafilatura.settings import use_config

    settings = use_config()
    # Below this size it gives up all structure, and navigation comes back.
    settings.set("DEFAULT", "MIN_EXTRACTED_SIZE", "0")
    return settings


def read_pdf(content: bytes) -> Extract:
    """Return the text of a PDF as Markdown.

    :raises RejectedError: When it is damaged, locked by a password, or holds pictures of text only.
    """
    text, title = _extract(content, _PDF)
    plain, _ = _extract(content, _PDF, output_format="plain")
    if not plain.strip() and not text.strip():
        detail = "no text in it: probably scanned pages"
        raise RejectedError(detail, "run text recognition over it, or exclude it")
    # Finding headings sometimes loses lines; the plain text is then the better one.
    if len(text.split()) < len(plain.split()) * _KEPT_OF_PDF:
        return Extract(plain, title, plain=True)
    return Extract(text, title)


def read_docx(content: bytes) -> Extract:
    """Return the text of a Word document as Markdown.

    :raises RejectedError: When it is damaged or locked by a password.
    """
    text, title = _extract(content, _DOCX)
    return Extract(text, title)


def _extract(content: bytes, media_type: str, output_format: str = "markdown") -> tuple[str, str]:
    from kreuzberg import (
        ContentFilterConfig,
        ExtractionConfig,
        KreuzbergError,
        PdfConfig,
        extract_bytes_sync,
    )

    config = ExtractionConfig(
        output_format=output_format,
        use_cache=False,
        ocr=None,
        # Without these, a heading at the top of a page counts as its running header and is lost.
        content_filter=ContentFilterConfig(include_headers=True, include_footers=True),
        pdf_options=PdfConfig(top_margin_fraction=0.0, bottom_margin_fraction=0.0, extract_images=False),
    )
    try:
        result = extract_bytes_sync(content, media_type, config)
    except (KreuzbergError, ValueError, OSError, RuntimeError) as error:
        raise _unreadable(media_type, error) from None
    return result.content, _metadata_title(result.metadata)


def _metadata_title(metadata: Any) -> str:
    title = metadata.get("title") if metadata else None
    return " ".join(title.split())[:_LONGEST_TITLE] if isinstance(title, str) else ""


def _unreadable(media_type: str, error: Exception) -> RejectedError:
    name = {_PDF: "PDF", _DOCX: "DOCX"}.get(media_type, "HTML")
    reason = " ".join(str(error).split()).removeprefix("ParsingError: ")
    if "password" in reason.lower() or "encrypt" in reason.lower():
        return RejectedError(f"the {name} is locked by a password", "save a copy without it, or exclude it")
    return RejectedError(f"not a readable {name}: {reason[:_LONGEST_REASON]}", "save it again, or exclude it")


def _without_declaration(source: str) -> str:
    """Leave out an XML declaration: the encoding that it names is not the encoding of a text."""
    start = source.lstrip()
    return start[start.find("?>") + 2 :] if start.startswith("<?xml") and "?>" in start else source


def _without_head(source: str) -> str:
    """Leave out the head of a page: its fields would be written as text."""
    end = source.lower().find("</head>")
    return source[end + len("</head>") :] if end >= 0 else _without_declaration(source)


class _Page(HTMLParser):
    """Counts a page's visible words and keeps its first title and heading, without building a tree."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words = 0
        self.main_words = 0
        self.language = ""
        self.unseen = 0
        self.beside = 0
        self.inside = ""
        self.found: dict[str, list[str]] = {}

    def first(self, tag: str) -> str:
        """Return the text of the first `title` or `h1`."""
        return " ".join("".join(self.found.get(tag, [])).split())[:_LONGEST_TITLE]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what begins."""
        self.unseen += tag in _UNSEEN
        self.beside += tag in _BESIDE
        if tag == "html":
            self.language = dict(attrs).get("lang") or ""
        elif tag in ("title", "h1") and tag not in self.found and not self.inside:
            self.inside = tag
            self.found[tag] = []

    def handle_endtag(self, tag: str) -> None:
        """Note what ends; what was never opened does not count."""
        self.unseen -= tag in _UNSEEN and self.unseen > 0
        self.beside -= tag in _BESIDE and self.beside > 0
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        """Count the words of visible text."""
        if self.inside:
            self.found[self.inside].append(data)
        if not self.unseen:
            words = len(data.split())
            self.words += words
            self.main_words += 0 if self.beside else words
