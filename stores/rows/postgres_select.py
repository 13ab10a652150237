"""Row queries in PostgreSQL: what `Condition` and `RowQuery` say, as SQL over images.

A column's value is compared as what it is: where it is of another sort it is null to the comparison.
"""

from __future__ import annotations

import math
from decimal import Decimal

from psycopg import sql

from stores.rows.base import HELD, LIVE, Condition, RowQuery
from stores.rows.postgres_image import ROW
from stores.rows.postgres_schema import literal


def select_query(query: RowQuery, table: sql.Identifier, folding: sql.Identifier) -> sql.Composed:
    """Return the statement that `query` stands for; it returns what `postgres_image.stored_row` reads.

    :arg table: Where the rows are.
    :arg folding: Collation whose lower-case letters are what ignoring case means.
    """
    seen = whole = sql.Composed([sql.SQL("image")])
    if query.fresh_since is not None:
        fresh = sql.SQL("as_of >= {}").format(sql.Literal(query.fresh_since))
        seen = sql.SQL("CASE WHEN {} THEN image ELSE ident END").format(fresh)
        whole = sql.SQL("CASE WHEN {} THEN image END").format(fresh)
    # Images become text outside of the sorting, where there are only as many as are asked for.
    return sql.SQL(
        """SELECT {columns} FROM (SELECT * FROM (
            SELECT source, key, state, position, stream, partition, "offset", as_of, applied_at, initiator, transaction,
                gaps, {seen} AS seen, {whole} AS image
            FROM {table} WHERE state IN ({live}, {held})
        ) AS rows WHERE {conditions} ORDER BY {order} LIMIT {limit}) AS found"""
    ).format(
        columns=sql.SQL(ROW),
        seen=seen,
        whole=whole,
        table=table,
        live=sql.Literal(LIVE),
        held=sql.Literal(HELD),
        conditions=_conditions(query, folding),
        order=_order(query),
        limit=sql.Literal(max(query.limit, 0)),
    )


_TRUE, _FALSE = sql.Composed([sql.SQL("true")]), sql.Composed([sql.SQL("false")])


def _conditions(query: RowQuery, folding: sql.Identifier) -> sql.Composed:
    all_of = [_condition(condition, folding) for condition in query.where] or [_TRUE]
    if query.any_of:
        each = [_condition(condition, folding) for condition in query.any_of]
        all_of.append(sql.SQL("({})").format(sql.SQL(" OR ").join(each)))
    return sql.SQL(" AND ").join(all_of)


def _condition(condition: Condition, folding: sql.Identifier) -> sql.Composed:
    value = _value(condition.column)
    if condition.value is None:
        return _against_null(condition.comparison, value)
    if condition.comparison == "~":
        return _contains(value, condition.value, folding)
    met = _compared(value, condition)
    return sql.SQL("({}) IS NOT TRUE").format(met) if condition.comparison == "!=" else met


def _against_null(comparison: str, value: sql.Composed) -> sql.Composed:
    if comparison not in {"=", "!="}:
        return _FALSE
    return sql.SQL("coalesce(jsonb_typeof({}), 'null') {} 'null'").format(value, sql.SQL(comparison))


def _compared(value: sql.Composed, condition: Condition) -> sql.Composed:
    """Return the comparison with a value of its sort; equality where unequality is asked for."""
    operator = sql.SQL("=" if condition.comparison == "!=" else condition.comparison)
    wanted = condition.value
    if isinstance(wanted, bool):
        return sql.SQL("{} {} {}").format(_of_sort(value, "boolean"), operator, sql.Literal(wanted))
    if isinstance(wanted, str):
        if operator.as_string(None) == "=":  # in the words of the view, for the sake of its index
            whole = sql.SQL("(seen ->> {}) = {} AND jsonb_typeof({}) = 'string'")
            return sql.SQL("({})").format(whole.format(literal(condition.column), literal(wanted), value))
        return sql.SQL('{} COLLATE "C" {} {}').format(_of_sort(value, "string"), operator, literal(wanted))
    if wanted is None or math.isnan(wanted):
        return _FALSE
    # A float means the decimal number that it is written as.
    number = sql.SQL("{}::numeric").format(sql.Literal(str(Decimal(repr(wanted)))))
    return sql.SQL("{} {} {}").format(_of_sort(value, "number"), operator, number)


def _contains(value: sql.Composed, wanted: object, folding: sql.Identifier) -> sql.Composed:
    if not isinstance(wanted, str):
        return _FALSE
    return sql.SQL("strpos(lower({} COLLATE {collation}), lower({} COLLATE {collation})) > 0").format(
        _of_sort(value, "string"), literal(wanted), collation=folding
    )


def _order(query: RowQuery) -> sql.Composed:
    by_key = sql.SQL("source, key")
    if not query.order:
        return sql.Composed([by_key])
    value, way = _value(query.order), sql.SQL("DESC" if query.descending else "ASC")
    # Numbers, then truth values, then texts, then what has no order of its own; rows without the column are last.
    rank = sql.SQL(
        """CASE jsonb_typeof({}) WHEN 'number' THEN 0 WHEN 'boolean' THEN 1 WHEN 'string' THEN 2
        WHEN 'object' THEN 3 WHEN 'array' THEN 3 END"""
    ).format(value)
    keys = [rank, *(_of_sort(value, sort) for sort in ("number", "boolean"))]
    keys.append(sql.SQL('{} COLLATE "C"').format(_of_sort(value, "string")))
    return sql.SQL(", ").join([*(sql.SQL("{} {} NULLS LAST").format(key, way) for key in keys), by_key])


def _value(column: str) -> sql.Composed:
    return sql.SQL("(seen -> {})").format(literal(column))


def _of_sort(value: sql.Composed, sort: str) -> sql.Composed:
    """Return the value where it is of `sort`, else null."""
    cast = sql.SQL({"number": "{}::numeric", "boolean": "{}::boolean", "string": "{} #>> '{{}}'"}[sort]).format(value)
    return sql.SQL("CASE jsonb_typeof({}) WHEN {} THEN {} END").format(value, sql.Literal(sort), cast)
