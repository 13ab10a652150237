"""Which statements of a user are let through to PostgreSQL: one that reads, and reaches nothing but live tables.

PostgreSQL's own rights would let a session of the schema's owner call functions that read files, wait, change
settings or run SQL given as text. So functions are let through only if they are PostgreSQL's own and see nothing but
their arguments, which PostgreSQL calls immutable, or are on a list of ours; tables, only if PostgreSQL's plan of the
statement names no others. What remains possible is to use the server's time and memory within the time limit, and to
learn whether names exist. Against that, and as a second wall, give the readers a connection string of a role that may
only read:

    CREATE ROLE headrace_reader LOGIN PASSWORD '...';
    GRANT USAGE ON SCHEMA headrace TO headrace_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA headrace TO headrace_reader;
    ALTER DEFAULT PRIVILEGES FOR ROLE headrace_writer IN SCHEMA headrace GRANT SELECT ON TABLES TO headrace_reader;
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any, NamedTuple, NoReturn

import msgspec

from events.errors import RejectedError

# Lexical structure as in PostgreSQL's manual, chapter 4.1, but for what could be read in two ways: that is refused.
_LETTER = r"[A-Za-z_\u0080-\U0010ffff]"
_TOKEN = re.compile(
    rf"""(?P<blank>[ \t\n\r\f\v]+|--[^\n\r]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)
    |(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    |(?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*')
    |(?P<plain>\$\$.*?\$\$)
    |(?P<tagged>\$(?P<tag>{_LETTER}(?:{_LETTER}|[0-9])*)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<word>(?![uU]&"){_LETTER}(?:{_LETTER}|[0-9$])*)
    |(?P<number>(?:0[xXoObB][0-9A-Fa-f_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)
        (?!{_LETTER}|[0-9$]))
    |(?P<other>(?!/\*)[!#%&()*+,\-./:;<=>?@\[\\\]^`{{|}}~])""",
    re.VERBOSE | re.DOTALL,
)
_TEXTS = {"escaped", "string"}
_READING = {"select", "with", "values", "table", "("}
_UNSEEN = {
    "current_catalog", "current_role", "current_schema", "current_user", "information_schema", "operator",
    "session_user", "system_user", "user", "regclass", "regcollation", "regconfig",
    "regdictionary", "regnamespace", "regoper", "regoperator", "regproc", "regprocedure", "regrole", "regtype",
}  # fmt: skip
STABLE = frozenset({
    "age", "array_agg", "array_to_json", "array_to_string", "clock_timestamp", "concat", "concat_ws", "date",
    "date_add", "date_part", "date_subtract", "date_trunc", "extract", "format", "generate_series", "json_agg",
    "json_build_array", "json_build_object", "json_object_agg", "jsonb_agg", "jsonb_build_array", "jsonb_build_object",
    "jsonb_object_agg", "jsonb_to_record", "jsonb_to_recordset", "length", "make_timestamptz", "now", "numeric",
    "overlaps", "phraseto_tsquery", "plainto_tsquery", "quote_literal", "quote_nullable", "random", "row_to_json",
    "statement_timestamp", "string_agg", "time", "timestamp", "timestamptz", "timetz", "timezone", "to_char", "to_date",
    "to_json", "to_jsonb", "to_number", "to_timestamp", "to_tsquery", "to_tsvector", "transaction_timestamp",
    "websearch_to_tsquery",
})  # fmt: skip
"""Functions that see more than their arguments, yet no more than time, time zone, locale and chance."""
_BOUNDLESS = {"repeat", "lpad", "rpad"}
_IDENTIFIER_BYTES = 63


class Surroundings(msgspec.Struct, frozen=True):
    """What of PostgreSQL a statement must not name.

    :arg functions: Functions that are not let through, of PostgreSQL's and in our schema.
    :arg attributes: Those of them that take one argument: `x.f` calls `f` where `x` has no such column.
    :arg tables: Tables of our schema that are not views, and everything in PostgreSQL's own catalog: behind its views
        stand functions.
    """

    functions: Set[str]
    attributes: Set[str]
    tables: Set[str]


SURROUNDINGS = """WITH unsafe AS (SELECT proname::text AS name, 1 BETWEEN pronargs - pronargdefaults AND pronargs AS one
        FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile <> 'i'
        OR pronamespace = to_regnamespace(quote_ident(%(schema)s)))
    SELECT (SELECT array_agg(name) FROM unsafe), (SELECT array_agg(name) FROM unsafe WHERE one),
        (SELECT array_agg(relname::text) FROM pg_class
            WHERE relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND relkind <> 'v'
            OR relnamespace = 'pg_catalog'::regnamespace)"""


def surroundings(row: tuple[Any, ...] | None) -> Surroundings:
    """Read what the query `SURROUNDINGS` returned."""
    functions, attributes, tables = (frozenset(names or ()) for names in row or ((), (), ()))
    return Surroundings(functions - STABLE | _BOUNDLESS, attributes - STABLE, tables)


def checked_statement(statement: str, around: Surroundings) -> str:
    """Return the statement without a semicolon at its end, if it can be let through to be planned.

    :raises RejectedError: With what it must not do.
    """
    tokens = list(_tokens(statement))
    while tokens and tokens[-1].text == ";":
        statement = statement[: tokens.pop().at]
    if not tokens or tokens[0].text not in _READING:
        _reject("only a SELECT statement can be run")
    for before, token, after in zip([_NONE, *tokens], tokens, [*tokens[1:], _NONE], strict=False):
        _check(before, token, after, around)
    return statement


def _check(before: _Token, token: _Token, after: _Token, around: Surroundings) -> None:
    name = token.text
    if token.kind == "other" and name == ";":
        _reject("only one statement can be run")
    if token.kind in _TEXTS and before.kind in _TEXTS:
        _reject("a text that is continued on another line cannot be used here")
    if token.kind not in {"word", "quoted"}:
        return
    called, dotted = after.text == "(", before.text == "."
    if called and dotted:
        _reject(f"{name} must be called without a schema")
    if (
        (called and name in around.functions)
        or (dotted and name in around.attributes)
        or (token.kind == "word" and name in _UNSEEN)
    ):
        _reject(f"{name} cannot be used here")
    if name in around.tables:
        _reject(f"{name} is not a live table")


def check_plan(plan: Any, schema: str, around: Surroundings) -> None:
    """Refuse a plan that reads other tables than those of live tables.

    :arg plan: What EXPLAIN (VERBOSE, FORMAT JSON) says: lists and dicts.
    :raises RejectedError: Naming the table.
    """
    if isinstance(plan, dict):
        name = plan.get("Relation Name")
        live = plan.get("Schema") == schema and name in around.tables and str(name).startswith("row_")
        if name is not None and not live:
            _reject(f"{name} is not a live table")
        for function in (plan.get("Function Name"), plan.get("Table Function Name")):
            if function is not None and (plan.get("Schema") != "pg_catalog" or function in around.functions):
                _reject(f"{function} cannot be used here")
        plan = list(plan.values())
    if isinstance(plan, list):
        for part in plan:
            check_plan(part, schema, around)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


_NONE = _Token("", "", 0)


def _tokens(statement: str) -> Iterator[_Token]:
    """Give the tokens that are not blank; names as PostgreSQL takes them."""
    at = 0
    while at < len(statement):
        found = _TOKEN.match(statement, at)
        if found is None:
            _reject(f"the statement cannot be read from {statement[at : at + 20]!r} on")
        kind, text = str(found.lastgroup), found[0]
        if kind == "word":
            text = _cut("".join(letter.lower() if letter.isascii() else letter for letter in text))
        elif kind == "quoted":
            text = _cut(text[1:-1].replace('""', '"'))
        if kind != "blank":
            yield _Token(kind, text, at)
        at = found.end()


def _cut(name: str) -> str:
    return name.encode()[:_IDENTIFIER_BYTES].decode(errors="ignore")


def _reject(detail: str) -> NoReturn:
    raise RejectedError(detail, "write one SELECT over the live tables")
