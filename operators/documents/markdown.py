"""Markdown as blocks and sections, by lines.

Invariant: every line of the text is in exactly one block, except comments, thematic breaks and heading marks.
The work is linear in the text whatever it holds: no expression here can backtrack over more than a line's start.
Follows the block structure of CommonMark 0.31 and the tables of GitHub Flavored Markdown, with two liberties:
a comment or a `<pre>` that is never closed is text, and a long paragraph above `---` stays a paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

Kind = Literal["heading", "paragraph", "list", "quote", "table", "code"]

_CODE_INDENT = 4
_LONGEST_UNDERLINED = 200
_SHORTEST_UNDERLINE = 2
_SHORTEST_BREAK = 3
_INTERRUPTING = ("-", "*", "+", "1.", "1)")
# A line that begins so can begin nothing but a paragraph or a table: most lines need no further look.
_PLAIN_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ([\"'!&/")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_FENCE = re.compile(r"[ \t]*(`{3,}(?=[^`]*$)|~{3,})")
_ITEM = re.compile(r"([ \t]*)([-*+]|[0-9]{1,9}[.)])(?=[ \t]|$)")
_DELIMITER = re.compile(r"[ \t]*[|:-][-| \t:]*$")
_VERBATIM = ("pre", "script", "style")
_DATA_URI = re.compile(r"(data:[\w.+-]{1,80}/[\w.+-]{1,80};base64,)[A-Za-z0-9+/=]{64,}")


class Block(msgspec.Struct, frozen=True, gc=False):
    """One block of a document.

    :arg kind: What it is; a block of HTML counts as a paragraph, one of `<pre>` as code.
    :arg text: Its lines as written; of a heading the words alone.
    :arg level: Of a heading, from 1.
    """

    kind: Kind
    text: str
    level: int = 0


class Heading(msgspec.Struct):
    """One heading; `shown` tells whether a chunk carries its words."""

    level: int
    text: str
    shown: bool = False


class Section(msgspec.Struct):
    """What stands between two headings: the headings above it, outermost first, and its own blocks."""

    path: tuple[Heading, ...]
    blocks: list[Block]


def sections(text: str) -> list[Section]:
    """Split `text` at its headings. A section without blocks is kept: its heading may have none below it."""
    found = [Section((), [])]
    for block in blocks(text):
        if block.kind != "heading":
            found[-1].blocks.append(block)
            continue
        above = [heading for heading in found[-1].path if heading.level < block.level]
        found.append(Section((*above, Heading(block.level, block.text)), []))
    return found


def paragraphs(text: str) -> list[Block]:
    """Split plain text at its empty lines: no markup is read into it."""
    return [
        Block("paragraph", part.strip("\n").rstrip()) for part in re.split(r"\n(?:[ \t]*\n)+", text) if part.strip()
    ]


def blocks(text: str) -> list[Block]:
    """Split `text` into blocks, headings among them, in their order."""
    return list(_Reader(text).blocks())


def first_heading(text: str, level: int) -> str:
    """Return the first heading of this level, empty if there is none."""
    found = (block.text for block in _Reader(text).blocks() if block.kind == "heading" and block.level == level)
    return next(filter(None, found), "")


def list_items(text: str) -> list[str]:
    """Split the text of a list block at its outermost items."""
    lines = text.split("\n")
    margin = _indent(lines[0]) + 1
    starts, fence = [], ""
    for number, line in enumerate(lines):
        item = None if fence else _ITEM.match(line)
        if item and _indent(line) <= margin:
            starts.append(number)
        fence = _follow_fence(line[item.end() :] if item else line, fence)
    if not starts or starts[0]:
        starts.insert(0, 0)
    ends = [*starts[1:], len(lines)]
    return ["\n".join(lines[start:end]).rstrip() for start, end in zip(starts, ends, strict=True)]


def item_content(text: str) -> tuple[str, str]:
    """Split one list item into its mark and what it holds, moved to the left margin."""
    lines = text.split("\n")
    mark = _ITEM.match(lines[0])
    if not mark:
        return "", text
    first = lines[0][mark.end() :].lstrip()
    rest = [line for line in lines[1:] if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in rest), default=0)
    return mark.group().strip(), "\n".join([first, *(line[margin:] if line.strip() else "" for line in lines[1:])])


def quote_content(text: str) -> str:
    """Return a quotation without its marks."""
    return "\n".join(re.sub(r"^[ \t]*> ?", "", line) for line in text.split("\n"))


def is_fence(line: str) -> bool:
    """Whether `line` opens or closes fenced code."""
    return _FENCE.match(line) is not None


class _Reader:
    """Walks over the lines once; each method that takes a block moves `at` behind it."""

    def __init__(self, text: str) -> None:
        if ";base64," in text:
            text = _DATA_URI.sub(r"\1", text)
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if "<!--" in text:
            self.lines = list(_without_comments(self.lines))
        self.at = 0
        self.last_close: dict[str, int] = {}

    def blocks(self) -> Iterator[Block]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line or line.isspace():
                self.at += 1
            elif (block := self._take(line)) is not None:
                yield block

    def _take(self, line: str) -> Block | None:
        """Read the block that begins with `line`; None for a thematic break."""
        block: Block | None = None
        if line[0] in _PLAIN_START and not self._is_delimiter(self.at + 1):
            block = self._paragraph()
        elif (indent := _indent(line)) >= _CODE_INDENT:
            block = self._indented()
        elif _FENCE.match(line):
            block = self._fenced()
        elif heading := _atx(line):
            self.at += 1
            block = heading
        elif _is_break(line):
            self.at += 1
        elif line[indent] == ">":
            block = self._until(_ends_quote, "quote")
        elif _ITEM.match(line):
            block = self._list()
        elif "|" in line and self._is_delimiter(self.at + 1):
            block = self._until(lambda row: "|" not in row or _starts_block(row), "table")
        elif line[indent] == "<" and (end := self._verbatim_end(line.lower().lstrip())):
            block = self._slice(end, "code")
        else:
            block = self._paragraph()
        return block

    def _slice(self, end: int, kind: Kind) -> Block:
        text = "\n".join(self.lines[self.at : end]).rstrip()
        self.at = end
        return Block(kind, text)

    def _until(self, ends: Callable[[str], bool], kind: Kind) -> Block:
        end = self.at + 1
        while end < len(self.lines) and not ends(self.lines[end]):
            end += 1
        return self._slice(end, kind)

    def _fenced(self) -> Block:
        fence = _follow_fence(self.lines[self.at], "")
        end = self.at + 1
        while end < len(self.lines) and fence:
            fence = _follow_fence(self.lines[end], fence)
            end += 1
        return self._slice(end, "code")

    def _indented(self) -> Block:
        end = kept = self.at + 1
        while end < len(self.lines):
            line = self.lines[end]
            if not _is_blank(line):
                if _indent(line) < _CODE_INDENT:
                    break
                kept = end + 1
            end += 1
        return self._slice(kept, "code")

    def _list(self) -> Block:
        margin = _indent(self.lines[self.at])
        fence = ""
        end = kept = self.at
        blank = False
        while end < len(self.lines):
            line = self.lines[end]
            if _is_blank(line):
                blank = True
                end += 1
                continue
            item = None if fence else _ITEM.match(line)
            if _indent(line) <= margin and end > self.at and (item is None or _is_break(line)):
                lazy = not (blank or fence or _starts_block(line))
                if not lazy:
                    break
            fence = _follow_fence(line[item.end() :] if item else line, fence)
            blank = False
            end += 1
            kept = end
        return self._slice(kept, "list")

    def _paragraph(self) -> Block:
        end = self.at + 1
        while end < len(self.lines) and not _is_blank(line := self.lines[end]):
            if level := _underline(line):
                text = " ".join(part.strip() for part in self.lines[self.at : end])
                if len(text) <= _LONGEST_UNDERLINED:
                    self.at = end + 1
                    return _heading(level, text)
            if line[0] not in _PLAIN_START and _starts_block(line):
                break
            if "|" in line and self._is_delimiter(end + 1):
                break
            end += 1
        return self._slice(end, "paragraph")

    def _is_delimiter(self, at: int) -> bool:
        if at >= len(self.lines):
            return False
        line = self.lines[at]
        return "|" in line and "-" in line and _DELIMITER.match(line) is not None

    def _verbatim_end(self, line: str) -> int:
        """Return the line behind the block of HTML that shows its text as it is, 0 if none begins or it never ends."""
        for tag in _VERBATIM:
            if not line.startswith(f"<{tag}"):
                continue
            close = f"</{tag}>"
            if tag not in self.last_close:
                hits = (number for number in range(len(self.lines) - 1, -1, -1) if close in self.lines[number].lower())
                self.last_close[tag] = next(hits, -1)
            if self.at <= self.last_close[tag]:
                ends = range(self.at, len(self.lines))
                return next(number for number in ends if close in self.lines[number].lower()) + 1
        return 0


def _is_blank(line: str) -> bool:
    return not line or line.isspace()


def _indent(line: str) -> int:
    """Columns of white space at the start, a tab reaching to the next multiple of four."""
    columns = 0
    for character in line:
        if character == " ":
            columns += 1
        elif character == "\t":
            columns += _CODE_INDENT - columns % _CODE_INDENT
        else:
            break
    return columns


def _atx(line: str) -> Block | None:
    mark = _ATX.match(line)
    if not mark:
        return None
    text = line[mark.end() :].strip()
    opened = text.rstrip("#")
    if not opened or opened[-1] in " \t":
        text = opened.rstrip()
    return _heading(len(mark.group(1)), text)


def _heading(level: int, text: str) -> Block:
    """Leave out the attributes that some dialects write behind a heading: `{ #anchor }`."""
    if text.endswith("}"):
        start = text.rfind("{")
        if start >= 0 and text[start + 1 : -1].lstrip()[:1] in ("#", "."):
            text = text[:start].rstrip()
    return Block("heading", text, level)


def _underline(line: str) -> int:
    """Level of the heading that `line` makes of the lines above it, 0 for none."""
    mark = line.strip()
    if len(mark) < _SHORTEST_UNDERLINE or mark[0] not in "=-" or _indent(line) >= _CODE_INDENT:
        return 0
    return (1 if mark[0] == "=" else 2) if mark == mark[0] * len(mark) else 0


def _is_break(line: str) -> bool:
    mark = line.replace(" ", "").replace("\t", "")
    return len(mark) >= _SHORTEST_BREAK and mark[0] in "*-_" and mark == mark[0] * len(mark)


def _ends_quote(line: str) -> bool:
    return _is_blank(line) or (line.lstrip()[0] != ">" and _starts_block(line))


def _starts_block(line: str) -> bool:
    """Whether `line` ends a paragraph without an empty line between them."""
    if _indent(line) >= _CODE_INDENT:
        return False
    if _FENCE.match(line) or _ATX.match(line) or _is_break(line) or line.lstrip()[0] == ">":
        return True
    item = _ITEM.match(line)
    # As CommonMark has it: only a list from 1 interrupts, so that a line which a number begins stays where it is.
    return item is not None and item.group(2) in _INTERRUPTING and not _is_blank(line[item.end() :])


def _follow_fence(line: str, fence: str) -> str:
    """Return the mark of the fenced code that is open behind `line`, empty for none."""
    if not fence:
        opened = _FENCE.match(line)
        return opened.group(1) if opened else ""
    mark = line.strip()
    return "" if len(mark) >= len(fence) and mark == fence[0] * len(mark) else fence


def _without_comments(lines: list[str]) -> Iterator[str]:
    last_close = max((number for number, line in enumerate(lines) if "-->" in line), default=-1)
    fence, inside = "", False
    for number, line in enumerate(lines):
        if not inside:
            fence = _follow_fence(line, fence)
        if fence or (not inside and "<!--" not in line):
            yield line
            continue
        kept, inside = _uncommented(line, inside, number < last_close)
        if kept.strip() or _is_blank(line):
            yield kept


def _uncommented(line: str, inside: bool, closes_below: bool) -> tuple[str, bool]:
    kept: list[str] = []
    at = ticks = 0
    last_close = len(line) if closes_below else line.rfind("-->")
    while at < len(line):
        if inside:
            close = line.find("-->", at)
            if close < 0:
                return "".join(kept), True
            at, inside = close + len("-->"), False
            continue
        start = line.find("<!--", at)
        if start < 0:
            kept.append(line[at:])
            break
        ticks += line.count("`", at, start)
        if ticks % 2 or start > last_close:
            kept.append(line[at : start + len("<!--")])
            at = start + len("<!--")
            continue
        kept.append(line[at:start])
        at, inside = start + len("<!--"), True
    return "".join(kept), inside
