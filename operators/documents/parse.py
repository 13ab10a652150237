"""Documents of any format as text with its structure.

Invariant: whatever the bytes are, the outcome is a document or a `RejectedError` with its reason, and a document that
says who may read it is never returned without that. HTML, PDF and DOCX come from outside and are read by large
libraries that can hang, crash or fill the memory: run `parse` for those (`ISOLATED`) in a process that may be lost.
"""

from __future__ import annotations

import codecs
import re
from pathlib import PurePosixPath

import msgspec

from events.documents import DocumentChange
from events.errors import RejectedError
from operators.documents.formats import Extract, read_docx, read_html, read_pdf
from operators.documents.front_matter import FrontMatter, split_front_matter
from operators.documents.language import detect
from operators.documents.markdown import first_heading

MARKDOWN = "text/markdown"
PLAIN = "text/plain"
HTML = "text/html"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

ISOLATED = frozenset({HTML, "application/xhtml+xml", PDF, DOCX})
"""Media types whose parsing can hang, crash or fill the memory."""

_BY_EXTENSION = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".txt": PLAIN,
    ".text": PLAIN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": "application/xhtml+xml",
    ".pdf": PDF,
    ".docx": DOCX,
}
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHARSET = re.compile(rb"<meta[^>]{1,200}charset=[\"']?([\w-]{1,40})", re.IGNORECASE)
_CHARSET_WITHIN = 1024
_LONGEST_TITLE = 300
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_UNSAVED = "save it as UTF-8, or exclude it"


class ParsedDocument(msgspec.Struct, frozen=True):
    """A document as text with its structure, whatever its format was.

    :arg title: What it calls itself; else the source's title, else its file name.
    :arg language: ISO 639-1 code, empty where it could not be told.
    :arg text: Markdown, or plain text.
    :arg plain: Whether `text` is plain: nothing in it is markup.
    :arg audience: Labels of who may read it; empty means that nobody may.
    :arg metadata: The source's fields, and over them the document's own.
    """

    title: str
    language: str
    text: str
    plain: bool = False
    audience: tuple[str, ...] = ()
    metadata: dict[str, str] = {}


def media_type_of(uri: str) -> str | None:
    """Return the media type that the extension of `uri` stands for, None for one that is not read."""
    return _BY_EXTENSION.get(PurePosixPath(uri).suffix.lower())


def bare_media_type(media_type: str) -> str:
    """Return `media_type` in lower case and without parameters."""
    return media_type.partition(";")[0].strip().lower()


def parse(change: DocumentChange) -> ParsedDocument:
    """Read a document's bytes by its media type. No content makes a document without text.

    :raises RejectedError: When the bytes are not of that type, hold no readable text, or the type is not known.
    """
    media_type = bare_media_type(change.media_type)
    content = change.content or b""
    front = FrontMatter()
    if media_type == MARKDOWN:
        front, text = split_front_matter(decode(content))
        extract = Extract(text, front.title)
    elif media_type == PLAIN:
        extract = Extract(decode(content), plain=True)
    else:
        extract = _read(media_type, content)
    text = extract.text if extract.text.strip() else ""
    heading = "" if extract.plain or not text else first_heading(text, 1)
    if extract.title and text and not heading and media_type not in (PDF, DOCX):
        # Chunks carry the headings above them: a title that stands beside the text is one of them.
        text = f"# {extract.title}\n\n{text}"
    beside = front.title or heading or extract.title or change.title
    return ParsedDocument(
        title=_title(beside) or PurePosixPath(change.uri).stem,
        language=detect(text) or extract.language,
        text=text,
        plain=extract.plain,
        audience=change.audience if front.audience is None else front.audience,
        metadata={**change.metadata, **front.metadata},
    )


def decode(content: bytes, declared: str = "") -> str:
    """Return the text of `content`, lines ended by line feeds: UTF-8, UTF-16 by its byte order mark, or as declared.

    :raises RejectedError: When the bytes are no such text, naming the first that is not.
    """
    mark, encoding = next((pair for pair in _BYTE_ORDER_MARKS if content.startswith(pair[0])), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        if declared and not mark:
            return decode(_recoded(content, declared))
        at = error.start + len(mark)
        name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
        detail = f"not {name} text: byte 0x{content[at]:02x} at offset {at}"
        raise RejectedError(detail, _UNSAVED) from None
    if (at := text.find("\0")) >= 0:
        detail = f"not text: byte 0x00 at offset {len(mark) + len(text[:at].encode(encoding, 'surrogatepass'))}"
        raise RejectedError(detail, _UNSAVED)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _recoded(content: bytes, declared: str) -> bytes:
    try:
        return content.decode(declared).encode()
    except (LookupError, ValueError):
        detail = f"not {declared} text, although it says so"
        raise RejectedError(detail, _UNSAVED) from None


def _read(media_type: str, content: bytes) -> Extract:
    if media_type == PDF:
        return read_pdf(content)
    if media_type == DOCX:
        return read_docx(content)
    if media_type in ISOLATED:
        declared = _CHARSET.search(content[:_CHARSET_WITHIN])
        return read_html(decode(content, declared.group(1).decode("ascii", "replace") if declared else ""))
    detail = f"documents of type {media_type!r} cannot be read"
    raise RejectedError(detail, "convert it to Markdown, HTML, PDF or DOCX, or exclude it")


def _title(text: str) -> str:
    """Return a heading as a title: on one line, without links, tags and emphasis."""
    text = _LINK.sub(r"\1", text[: 10 * _LONGEST_TITLE])
    text = _TAG.sub("", text).replace("**", "").replace("`", "")
    return " ".join(text.split()).strip("*_ ")[:_LONGEST_TITLE]
