"""Blocks taken apart for packing: a block stays whole where it fits, else it is split at its next smaller joints.

Invariant: the pieces of a block, with their gaps between them, hold every word of it in order, and each weighs no
more than it may. A table's rows carry its header with them, the lines of fenced code its fences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from operators.documents.markdown import Block, blocks, is_fence, item_content, list_items, quote_content
from operators.documents.sentences import sentence_spans

CountTokens = Callable[[Sequence[str]], list[int]]
TokenSpans = Callable[[str], list[tuple[int, int]]]

CHARACTERS_PER_TOKEN = 12
"""A word that the tokenizer does not know may be one token for any length: so many characters weigh one at least."""

BLOCK, LINE, CODE_LINE, SENTENCE, WORD = 0, 2, 3, 3, 5
"""What it costs to cut before a piece, by the joint that is there."""

_DEEPEST = 6
_HEADER_LINES = 2
_MOST_FEEDS = 3
_COUNT_AT_ONCE = 4096
_WORD = re.compile(r"\S+")

Shape = Literal["heading", "paragraph", "list", "quote", "table", "code", "item", "line", "word", "fragment"]


class Wrap(msgspec.Struct):
    """What each chunk repeats around its share of a block: a table's header, the fences of code."""

    before: str
    after: str = ""
    tokens: int = -1
    weight: int = -1


class Piece(msgspec.Struct):
    """Something that one chunk takes whole.

    :arg text: Its text as written.
    :arg gap: What stands between the piece before it and this one.
    :arg cost: What it costs to cut before it.
    :arg shape: How it comes apart if it is too heavy.
    :arg depth: How many lists and quotations it stands in.
    :arg wrap: What goes around it.
    :arg hard: Whether a chunk must end behind it, because it ends inside of a word.
    :arg tokens: Its tokens; -1 before they are counted.
    :arg weight: What it takes of a chunk's budget: tokens, or more for characters without tokens.
    """

    text: str
    gap: str
    cost: int
    shape: Shape
    depth: int = 0
    wrap: Wrap | None = None
    hard: bool = False
    tokens: int = -1
    weight: int = -1


def weigh(text: str, tokens: int) -> int:
    """Return what `text` of so many `tokens` takes of a chunk's budget."""
    length = len(text)
    if length > tokens * CHARACTERS_PER_TOKEN:
        length = len(" ".join(text.split()))
    return max(tokens, -(-length // CHARACTERS_PER_TOKEN))


def whole(block: Block) -> Piece:
    """Take a block as one piece."""
    return Piece(block.text, "\n\n", BLOCK, block.kind)


def fit(groups: Sequence[tuple[list[Piece], int]], count_tokens: CountTokens, token_spans: TokenSpans) -> None:
    """Bring each group's pieces to at most its limit, in place; all of them are counted and weighed afterwards.

    The tokenizer is called once a round for all groups together. What is too long by its characters alone comes
    apart without being counted, so that no single text handed to the tokenizer grows with the document.
    """
    still_open = list(groups)
    while still_open:
        _count([piece for pieces, limit in still_open for piece in pieces if _countable(piece, limit)], count_tokens)
        unfit = [(pieces, limit) for pieces, limit in still_open if not all(_fits(piece, limit) for piece in pieces)]
        for pieces, limit in unfit:
            splitter = _Splitter(limit, count_tokens, token_spans)
            pieces[:] = [part for piece in pieces for part in splitter.split(piece)]
        still_open = unfit


def _countable(piece: Piece, limit: int) -> bool:
    # Twice, because white space, which weighs nothing, has not been taken out.
    return piece.weight < 0 and len(piece.text) <= 2 * limit * CHARACTERS_PER_TOKEN


def _fits(piece: Piece, limit: int) -> bool:
    # One character stays, whatever it weighs: it cannot be cut.
    return len(piece.text) == 1 or 0 <= piece.weight <= limit - (piece.wrap.weight if piece.wrap else 0)


def _count(pieces: list[Piece], count_tokens: CountTokens) -> None:
    for start in range(0, len(pieces), _COUNT_AT_ONCE):
        some = pieces[start : start + _COUNT_AT_ONCE]
        for piece, tokens in zip(some, count_tokens([piece.text for piece in some]), strict=True):
            piece.tokens = tokens
            piece.weight = weigh(piece.text, tokens)


class _Splitter:
    """Takes pieces that are too heavy one step apart; each part is strictly smaller or of a simpler shape."""

    def __init__(self, limit: int, count_tokens: CountTokens, token_spans: TokenSpans) -> None:
        self.limit = limit
        self.count_tokens = count_tokens
        self.token_spans = token_spans

    def split(self, piece: Piece) -> list[Piece]:
        """Return `piece` if it fits, else its parts; the first of them stands where it stood."""
        if _fits(piece, self.limit):
            return [piece]
        parts = self._parts(piece)
        if parts:
            parts[0].gap, parts[0].cost = piece.gap, piece.cost
            parts[-1].hard = piece.hard
        return parts

    def _parts(self, piece: Piece) -> list[Piece]:
        shape, parts = piece.shape, self._sentences
        if shape == "list":
            parts = _items
        elif shape in ("item", "quote") and piece.depth < _DEEPEST:
            parts = _content
        elif shape == "table":
            parts = self._rows
        elif shape == "code":
            parts = self._code
        elif shape == "line":
            parts = self._words
        elif shape in ("word", "fragment"):
            parts = self._fragments
        return parts(piece)

    def _wrap(self, before: str, after: str = "") -> Wrap | None:
        """Return what is to be repeated, or None if that would take too much of every chunk."""
        wrap = Wrap(before, after)
        text = f"{before}\n{after}"
        if len(text) > self.limit * CHARACTERS_PER_TOKEN:
            return None
        (wrap.tokens,) = self.count_tokens([text])
        wrap.weight = weigh(text, wrap.tokens)
        return wrap if wrap.weight <= self.limit // 3 else None

    def _rows(self, piece: Piece) -> list[Piece]:
        lines = piece.text.split("\n")
        wrap = self._wrap("\n".join(lines[:2])) if len(lines) > _HEADER_LINES else None
        return [Piece(line, "\n", LINE, "line", wrap=wrap) for line in lines[_HEADER_LINES if wrap else 0 :]]

    def _code(self, piece: Piece) -> list[Piece]:
        lines = piece.text.split("\n")
        wrap = None
        if is_fence(lines[0]):
            closed = len(lines) > 1 and is_fence(lines[-1])
            content = lines[1:-1] if closed else lines[1:]
            mark = lines[0].strip()
            fence = mark[: len(mark) - len(mark.lstrip(mark[0]))]
            wrap = self._wrap(lines[0], lines[-1] if closed else fence) if any(map(str.strip, content)) else None
            lines = content if wrap else lines
        pieces: list[Piece] = []
        blank = 0
        for line in lines:
            if not line.strip():
                blank += 1
                continue
            joint = CODE_LINE - bool(blank)
            pieces.append(Piece(line.rstrip(), "\n" * min(blank + 1, _MOST_FEEDS), joint, "line", wrap=wrap))
            blank = 0
        return pieces

    def _sentences(self, piece: Piece) -> list[Piece]:
        spans = sentence_spans(piece.text)
        return self._spanned(piece, spans, "line", SENTENCE) if len(spans) > 1 else self._words(piece)

    def _words(self, piece: Piece) -> list[Piece]:
        spans = [match.span() for match in _WORD.finditer(piece.text)]
        if len(spans) == 1:
            return self._fragments(piece)
        return self._spanned(piece, spans, "word", WORD)

    def _spanned(self, piece: Piece, spans: list[tuple[int, int]], shape: Shape, cost: int) -> list[Piece]:
        text = piece.text
        if not spans:
            return []
        # The white space at the start stays: in code it is meaning.
        starts = [0, *(start for start, _ in spans[1:])]
        gaps = ["", *(text[end:start] for (_, end), (start, _) in pairwise(spans))]
        return [
            Piece(text[start:end], "\n" if "\n" in gap else gap[:1], cost, shape, piece.depth, piece.wrap)
            for start, (_, end), gap in zip(starts, spans, gaps, strict=True)
        ]

    def _fragments(self, piece: Piece) -> list[Piece]:
        """Cut within a word. Only here may two parts count other than their sum: a chunk must end between them."""
        text = piece.text.strip()
        if text != piece.text:
            return [Piece(text, "", WORD, "fragment", piece.depth, piece.wrap)] if text else []
        limit = self.limit - (piece.wrap.weight if piece.wrap else 0)
        longest = limit * CHARACTERS_PER_TOKEN
        if len(text) > longest:
            cuts = list(range(longest, len(text), longest))
        else:
            spans = self.token_spans(text)
            cuts = [start for start, _ in spans[limit::limit] if start]
            cuts = cuts or [len(text) // 2]
        return [
            Piece(text[start:end], "", WORD, "fragment", piece.depth, piece.wrap, hard=True)
            for start, end in pairwise([0, *cuts, len(text)])
        ]


def _items(piece: Piece) -> list[Piece]:
    shape: Shape = "item" if piece.depth < _DEEPEST else "paragraph"
    return [Piece(item, "\n", LINE, shape, piece.depth) for item in list_items(piece.text)]


def _content(piece: Piece) -> list[Piece]:
    """Take apart what stands in a list item or a quotation; a heading in there is a paragraph like others."""
    mark, content = item_content(piece.text) if piece.shape == "item" else ("", quote_content(piece.text))
    depth = piece.depth + 1
    pieces = [Piece(block.text, "\n\n", LINE, block.kind, depth) for block in blocks(content)]
    if mark and pieces and pieces[0].shape == "paragraph":
        pieces[0].text = f"{mark} {pieces[0].text}"
    elif mark and pieces:
        pieces[0].gap = "\n"
        pieces.insert(0, Piece(mark, "\n", LINE, "paragraph", depth))
    return pieces
