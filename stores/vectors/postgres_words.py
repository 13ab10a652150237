"""Search by words in PostgreSQL: what becomes a lexeme, and Okapi BM25 over PostgreSQL's text search.

Texts and questions are brought to plain words here, in the same way, before PostgreSQL's parser sees them: to it
`and/or` is a file's path and `-2` a number. Nothing in a question is syntax, and what is found does not depend on the
database's locale. Texts are stemmed by the rules of their document's language, a question by those of all languages
that are there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

SIMPLE = "simple"
"""The configuration of languages that PostgreSQL has no rules for: whole words, in lower case."""
CONFIGURATIONS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali",
    "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""PostgreSQL's text search configurations by ISO 639-1 code. Servers do not all have all of them."""

_MOST_CHARACTERS = 100_000  # of a text; PostgreSQL refuses documents whose words take more than a megabyte
MOST_TERMS = 40
"""Words of a question that count."""
_COMMON = 0.1
_ACCENTED = re.compile(r"([A-Za-z])[\u0300-\u036f]+")
_LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})
_NO_WORD = re.compile(r"[\W_]")

_SATURATION, _LENGTH_SHARE = 1.2, 0.75
"""k1 and b of BM25: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009)."""
_RANK_OF_MANY = 1.64493406685
"""What PostgreSQL's `ts_rank` divides by: the sum of 1/n² over all n."""


def plain_words(text: str) -> str:
    """Return the words of a text between spaces, in lower case, Latin letters without their accents."""
    text = text[:_MOST_CHARACTERS].casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", unicodedata.normalize("NFKD", text)))
        text = text.translate(_LETTERS)
    return " ".join(_NO_WORD.sub(_blank, text).split())


def _blank(found: re.Match[str]) -> str:
    # Vowel signs of Indian scripts and the like are no letters, yet part of the word.
    return found[0] if unicodedata.category(found[0]).startswith("M") else " "


class Term(NamedTuple):
    """One word of a question.

    :arg lexemes: What it is in the languages that are there.
    :arg share: Of the chunks, those that have it, as PostgreSQL's statistics say; 0 where it is rare, or they are not.
    """

    lexemes: tuple[str, ...]
    share: float


def terms_query(words: str, configurations: Sequence[str], schema: str, table: str) -> tuple[SQL, tuple[Any, ...]]:
    """Return the query for the different words of a question: a row a word, by `Term`.

    :arg configurations: The text search configurations that are in use.
    """
    query = SQL(
        """WITH term AS (SELECT min(position) AS place, lexemes FROM (
                SELECT position, array_agg(DISTINCT lexeme ORDER BY lexeme) AS lexemes
                FROM unnest(%s::text[]) AS configuration,
                    unnest(to_tsvector(('pg_catalog.' || configuration)::regconfig, %s)), unnest(positions) AS position
                GROUP BY position) AS word
            GROUP BY lexemes),
        common AS (SELECT common.* FROM pg_stats,
                ROWS FROM (unnest(most_common_elems::text::text[]), unnest(most_common_elem_freqs))
                AS common (lexeme, share)
            WHERE schemaname = %s AND tablename = %s AND attname = 'words')
        SELECT lexemes, (SELECT coalesce(sum(share), 0)::float8 FROM common WHERE lexeme = ANY(lexemes))
        FROM term ORDER BY place"""
    )
    return query, (list(configurations), words, schema, table)


def bringing(terms: Sequence[Term]) -> list[Term]:
    """Return the words that bring chunks to be ranked: not those that are in so many that they tell little."""
    return [term for term in terms if term.share <= _COMMON] or [min(terms, key=lambda term: term.share)]


class Ranked(NamedTuple):
    """What is ranked.

    :arg table: The table of chunks.
    :arg condition: Which of them are ranked at all.
    :arg values: The parameters of the condition.
    :arg depth: How many of the best are wanted.
    """

    table: Identifier
    condition: Composable
    values: Mapping[str, Any]
    depth: int


def ranking_query(
    ranked: Ranked, terms: Sequence[Term], bringing: Sequence[Term], *, chunks: int, words: int
) -> tuple[Composed, dict[str, Any]]:
    """Return the query for the chunks with any of the words in `bringing`, best first by BM25: a row is id and score.

    A word counts once, whichever of its lexemes a text has. How often it is there is read from `ts_rank`, which for one
    word is 1 + 1/4 + 1/9 + ... over its occurrences, divided by what that comes to for ever more of them.

    :arg terms: The words by which they are ranked.
    :arg bringing: Those of them by which they are found.
    :arg chunks: How many there are.
    :arg words: How many words they have together.
    """
    parameters = dict(ranked.values)
    ranks, counts, scores = [], [], []
    for number, (lexemes, share) in enumerate(terms):
        parameters[f"term{number}"] = " | ".join(map(_quoted, lexemes))
        parameters[f"least{number}"] = 0 if terms[number] in bringing else round(share * chunks)
        names = {"rank": Identifier(f"r{number}"), "count": Identifier(f"n{number}")}
        term = SQL("%({})s::tsquery").format(SQL(f"term{number:d}"))
        ranks.append(
            SQL("least({share} * ts_rank('{{1,1,1,1}}', words, {term}), 0.9999) AS {rank}").format(
                share=Literal(float(len(lexemes))), term=term, **names
            )
        )
        counts.append(
            SQL("greatest(count(*) FILTER (WHERE {rank} > 0), %({least})s) AS {count}").format(
                least=SQL(f"least{number:d}"), **names
            )
        )
        scores.append(SQL(_SCORE).format(k1=Literal(_SATURATION), many=Literal(_RANK_OF_MANY), **names))
    parameters |= {
        "any": " | ".join(_quoted(lexeme) for term in bringing for lexeme in term.lexemes),
        "chunks": chunks,
        "mean": max(words, 1) / max(chunks, 1),
        "depth": ranked.depth,
    }
    query = SQL(_RANKING).format(
        table=ranked.table,
        allowed=ranked.condition,
        ranks=SQL(", ").join(ranks),
        counts=SQL(", ").join(counts),
        score=SQL(" + ").join(scores),
        k1=Literal(_SATURATION),
        b=Literal(_LENGTH_SHARE),
    )
    return query, parameters


_SCORE = """CASE WHEN {rank} > 0 THEN ln(1 + (greatest(%(chunks)s, {count}) - {count} + 0.5) / ({count} + 0.5))
    * ({k1} + 1) / (1 + weight / round(1 / ({many} * (1 - {rank})) - 0.5)) ELSE 0 END"""
_RANKING = """WITH hit AS MATERIALIZED (
        SELECT id, ({allowed}) AS allowed, {k1} * (1 - {b} + {b} * length / %(mean)s) AS weight, {ranks}
        FROM {table} WHERE words @@ %(any)s::tsquery),
    found AS (SELECT {counts} FROM hit)
    SELECT id, ({score})::float8 AS score FROM hit, found WHERE allowed
    ORDER BY score DESC, id LIMIT %(depth)s"""


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
