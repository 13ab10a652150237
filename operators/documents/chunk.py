"""Documents cut into chunks that stay the same while the text around them changes.

Invariants: a chunk belongs to one section and has at most the tokens allowed, its heading path included; every word
of the document is in a chunk, in order; a section's chunks depend on that section alone. Where a section needs
several chunks, the cuts are chosen by what stands there (the cheapest joint, then the smallest hash), so that an edit
moves the cuts near it and no others.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from events.documents import Chunk, embedded_text
from operators.documents.markdown import Block, Heading, Section, paragraphs, sections
from operators.documents.parse import ParsedDocument
from operators.documents.pieces import CHARACTERS_PER_TOKEN, CountTokens, Piece, TokenSpans, Wrap, fit, weigh, whole

_SMALLEST_FILL = 0.5
_SMALLEST_REST = 0.25
_ELLIPSIS = "…"
_ANNOUNCING = (":", ":**", "\uff1a")


class _Part(msgspec.Struct):
    """A section on its way to chunks: its headings as the chunks carry them, and its pieces."""

    heading: tuple[str, ...]
    path_tokens: int
    limit: int
    pieces: list[Piece]


def chunk_document(
    parsed: ParsedDocument,
    document_id: str,
    count_tokens: CountTokens,
    token_spans: TokenSpans,
    max_tokens: int = 240,
) -> tuple[Chunk, ...]:
    """Cut a document into chunks of at most `max_tokens` tokens each, heading path included.

    :arg count_tokens: The model's count for each text, special tokens left out. It must add up over texts that
        white space separates, as that of BERT's word pieces does.
    :arg token_spans: Start and end character of each token of a text.
    """
    outline = [Section((), paragraphs(parsed.text))] if parsed.plain else sections(parsed.text)
    parts = list(_parts(outline, _Paths(outline, count_tokens, token_spans, max_tokens)))
    fit([(part.pieces, part.limit) for part in parts], count_tokens, token_spans)
    seen: Counter[str] = Counter()
    chunks: list[Chunk] = []
    for part in parts:
        for start, end in _cuts(part.pieces, part.limit):
            pieces = part.pieces[start:end]
            text = _text(pieces)
            same = embedded_text(part.heading, text)
            chunk = chunk_id(document_id, same, seen[same])
            seen[same] += 1
            chunks.append(Chunk(chunk, part.heading, text, part.path_tokens + _tokens(pieces)))
    return tuple(chunks)


def chunk_id(document_id: str, content: str, occurrence: int) -> str:
    """Return the id of the chunk with this content, the `occurrence`-th (from 0) of its equals."""
    parts = (document_id, content, str(occurrence))
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class _Paths:
    """Heading paths as chunks carry them: at most a third of a chunk, else shortened from the outside in."""

    def __init__(
        self, outline: Sequence[Section], count_tokens: CountTokens, token_spans: TokenSpans, max_tokens: int
    ) -> None:
        self.count_tokens = count_tokens
        self.token_spans = token_spans
        self.longest = max_tokens // 3
        self.max_tokens = max_tokens
        self.loads: dict[str, tuple[int, int]] = {"": (0, 0)}
        texts = {" > ".join(_texts(section.path)) for section in outline}
        self._count([text for text in texts if text and len(text) <= self.longest * CHARACTERS_PER_TOKEN])

    def part(self, path: Sequence[Heading], blocks: Sequence[Block]) -> _Part:
        """Return the section with its path shortened; headings that no chunk would show stand in its text."""
        kept = [heading for heading in path if heading.text]
        while kept and self._load(_texts(kept))[1] > self.longest and len(kept) > 1:
            kept.pop(0)
        texts = _texts(kept)
        if self._load(texts)[1] > self.longest:
            texts = (self._shortened(kept.pop().text),)
        for heading in kept:
            heading.shown = True
        lost = [heading for heading in path if heading.text and not heading.shown]
        for heading in lost:
            heading.shown = True
        tokens, weight = self._load(texts)
        pieces = [whole(Block("paragraph", heading.text)) for heading in lost] + [whole(block) for block in blocks]
        return _Part(texts, tokens, self.max_tokens - weight, pieces)

    def _shortened(self, text: str) -> str:
        longest = self.longest * CHARACTERS_PER_TOKEN
        text = text[:longest]
        for keep in range(self.longest - 1, 0, -1):
            spans = self.token_spans(text)[:keep]
            short = (text[: spans[-1][1]] if spans else text[:1])[: longest - 1] + _ELLIPSIS
            if self._load((short,))[1] <= self.longest:
                return short
        return _ELLIPSIS

    def _load(self, texts: tuple[str, ...]) -> tuple[int, int]:
        text = " > ".join(texts)
        if text not in self.loads:
            if len(text) > 2 * self.max_tokens * CHARACTERS_PER_TOKEN:
                return (self.max_tokens, self.max_tokens)
            self._count([text])
        return self.loads[text]

    def _count(self, texts: list[str]) -> None:
        for text, tokens in zip(texts, self.count_tokens(texts) if texts else [], strict=True):
            self.loads[text] = (tokens, weigh(text, tokens))


def _texts(path: Sequence[Heading]) -> tuple[str, ...]:
    return tuple(heading.text for heading in path if heading.text)


def _parts(outline: Sequence[Section], paths: _Paths) -> Iterator[_Part]:
    """Yield the sections that make chunks.

    A heading without text of its own makes none, unless nothing below it would show it: then it is text of the
    section above it, together with its neighbours of the same kind.
    """
    bare: list[Block] = []
    for number, section in enumerate(outline):
        path, below = section.path, outline[number + 1].path if number + 1 < len(outline) else ()
        if section.blocks:
            yield paths.part(path, section.blocks)
        elif path and path[-1].text and not any(heading is path[-1] for heading in below):
            bare.append(Block("paragraph", path[-1].text))
            follows = len(below) == len(path) and all(a is b for a, b in zip(path[:-1], below, strict=False))
            if follows and not outline[number + 1].blocks and not _has_below(outline, number + 1):
                continue
            yield paths.part(path[:-1], bare)
            bare = []


def _has_below(outline: Sequence[Section], number: int) -> bool:
    below = outline[number + 1].path if number + 1 < len(outline) else ()
    return any(heading is outline[number].path[-1] for heading in below)


def _cuts(pieces: Sequence[Piece], limit: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each chunk's pieces.

    Of the joints that leave a chunk at least half full, the cheapest is cut, and among equals the one with the
    smallest hash of the text before it: two versions of a section that differ find the same joints again soon
    after the difference.
    """
    rest = [0] * (len(pieces) + 1)
    for number in range(len(pieces) - 1, -1, -1):
        rest[number] = rest[number + 1] + pieces[number].weight
    start = 0
    while start < len(pieces):
        loads = _loads(pieces, start, limit)
        end = start + len(loads)
        if end < len(pieces) and not pieces[end - 1].hard:
            joints = [
                joint
                for joint in range(start + 1, end + 1)
                if loads[joint - start - 1] >= limit * _SMALLEST_FILL and rest[joint] >= limit * _SMALLEST_REST
            ]
            end = min(reversed(joints), key=lambda joint: _preference(pieces, joint), default=end)
        yield start, end
        start = end


def _loads(pieces: Sequence[Piece], start: int, limit: int) -> list[int]:
    """Return what a chunk from `start` weighs with one piece, with two, and so on as long as it is within `limit`."""
    loads: list[int] = []
    load, wrap = 0, None
    for number in range(start, len(pieces)):
        piece = pieces[number]
        load += piece.weight
        if piece.wrap is not None and piece.wrap is not wrap:
            load += piece.wrap.weight
        wrap = piece.wrap
        if load > limit and loads:
            break
        loads.append(load)
        if piece.hard:
            break
    return loads


def _preference(pieces: Sequence[Piece], joint: int) -> tuple[int, int]:
    before = pieces[joint - 1].text
    announces = before.rstrip().endswith(_ANNOUNCING)
    content = " ".join(before.split()).encode("utf-8", "surrogatepass")
    return pieces[joint].cost + announces, zlib.crc32(content)


def _text(pieces: Sequence[Piece]) -> str:
    parts: list[str] = []
    wrap: Wrap | None = None
    for piece in pieces:
        if piece.wrap is not wrap and wrap is not None and wrap.after:
            parts.append(f"\n{wrap.after}")
        parts.append(piece.gap if parts else "")
        if piece.wrap is not wrap and piece.wrap is not None:
            parts.append(f"{piece.wrap.before}\n")
        parts.append(piece.text)
        wrap = piece.wrap
    if wrap is not None and wrap.after:
        parts.append(f"\n{wrap.after}")
    return "".join(parts).strip("\n").rstrip()


def _tokens(pieces: Sequence[Piece]) -> int:
    tokens, wrap = 0, None
    for piece in pieces:
        tokens += piece.tokens
        if piece.wrap is not None and piece.wrap is not wrap:
            tokens += piece.wrap.tokens
        wrap = piece.wrap
    return tokens
