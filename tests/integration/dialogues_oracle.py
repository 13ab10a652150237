"""The built-in KPIs of real dialogues by SQL over their files: read anew, knowing nothing of events or facts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from tests.integration.dialogues import BEGIN, MODELS, PACE, PERSONS, SPREAD, STRIDE

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WINDOWS = {"10m": (10 * MINUTE, 10 * MINUTE), "1h/30m": (HOUR, 30 * MINUTE), "1d": (DAY, DAY)}
"""Sizes and steps by name, in milliseconds."""
SESSION, GAP = "session:2m", 2 * MINUTE
GROUPINGS: tuple[tuple[str, ...], ...] = ((), ("topic",), ("model",), ("application", "topic"))


class Kpi(NamedTuple):
    """A built-in KPI as SQL has it."""

    name: str
    facts: str
    value: str
    where: str = "true"


KPIS = (
    Kpi("answers", "answers", "count(*)"),
    Kpi("users", "questions", "count(DISTINCT person)"),
    Kpi("rating_mean", "ratings", "sum(rating - 1) / (4.0 * count(*))"),
    Kpi("csat", "ratings", "count(*) FILTER (rating >= 4) / count(*)"),
    Kpi("latency_p50", "answers", "quantile_disc(latency, 0.5)"),
    Kpi("latency_p95", "answers", "quantile_disc(latency, 0.95)"),
    Kpi("tokens", "answers", "sum(read + written)"),
    Kpi("cost", "answers", "sum(read + 2 * written) / 100000.0"),
    Kpi("rated_share", "answers", "count(*) FILTER (good + bad + middling > 0) / count(*)"),
    Kpi("fallback_rate", "answers", "count(*) FILTER (given_up) / count(*)"),
    Kpi("bad_share", "answers", "count(*) FILTER (bad > good) / count(*)", "good + bad + middling > 0"),
)
QUANTILES = {"latency_p50", "latency_p95"}

_ARITHMETIC = {
    "begin": BEGIN, "stride": STRIDE, "spread": SPREAD, "pace": PACE, "persons": PERSONS, "models": MODELS,
}  # fmt: skip

Place = tuple[str, str, int, int, tuple[tuple[str, str], ...]]
"""KPI, window, begin, end, group."""

_USS = r"""
CREATE TABLE uss AS
WITH lines AS (
    SELECT unnest(string_split(content, chr(10))) AS line, generate_subscripts(string_split(content, chr(10)), 1) AS n
    FROM read_text(?)
), numbered AS (
    SELECT line, n, sum((trim(line) = '')::INT) OVER (ORDER BY n) AS blanks FROM lines
), dialogues AS (
    SELECT line, n, dense_rank() OVER (ORDER BY blanks) - 1 AS dialogue FROM numbered WHERE trim(line) <> ''
)
SELECT 'uss' AS application, dialogue, row_number() OVER (PARTITION BY dialogue ORDER BY n) - 1 AS place,
    split_part(line, chr(9), 1) = 'SYSTEM' AS answers, split_part(line, chr(9), 2) AS said,
    nullif(lower(regexp_extract(split_part(line, chr(9), 3), '^[^-]*')), 'general') AS domain,
    regexp_matches(split_part(line, chr(9), 3), '(NoOffer|NoBook)$') AS given_up, split_part(line, chr(9), 4) AS marks
FROM dialogues
"""
_MULTIWOZ = r"""
CREATE TABLE multiwoz AS
WITH entries AS (SELECT unnest(map_entries(content::JSON::MAP(VARCHAR, JSON))) AS entry FROM read_text(?)),
numbered AS (SELECT row_number() OVER (ORDER BY entry.key) - 1 AS dialogue, entry.value->'log' AS log FROM entries),
lines AS (
    SELECT dialogue, unnest(log::JSON[]) AS line, generate_subscripts(log::JSON[], 1) - 1 AS place FROM numbered
), acted AS (SELECT *, json_keys(line->'dialog_act') AS acts FROM lines)
SELECT 'multiwoz' AS application, dialogue, place, place % 2 = 1 AS answers, line->>'text' AS said,
    lower(split_part(list_filter(acts, lambda act: split_part(act, '-', 1) NOT IN ('general', 'Booking'))[1], '-', 1))
        AS domain,
    len(list_filter(acts, lambda act: regexp_matches(act, '(NoOffer|NoBook)$'))) > 0 AS given_up, '' AS marks
FROM acted
"""
_FACTS = """
CREATE TABLE lines AS
SELECT *, getvariable('begin') + dialogue * getvariable('stride') % getvariable('spread') * 1000
        + place * getvariable('pace') AS time,
    'p' || dialogue % getvariable('persons') AS person, 'm' || dialogue % getvariable('models') AS model,
    coalesce(len(string_split(lag(said) OVER whole, ' ')), 1) AS read, len(string_split(said, ' ')) AS written,
    coalesce(nullif(domain, ''), CASE WHEN answers THEN
        last_value(CASE WHEN NOT answers THEN nullif(domain, '') END IGNORE NULLS) OVER before END, '') AS topic,
    last_value(CASE WHEN answers THEN place END IGNORE NULLS) OVER before AS rated
FROM (FROM uss UNION ALL FROM multiwoz)
WINDOW whole AS (PARTITION BY application, dialogue ORDER BY place),
    before AS (PARTITION BY application, dialogue ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);
CREATE TABLE ratings AS
WITH marked AS (
    SELECT *, unnest(string_split(marks, ',')) AS mark, generate_subscripts(string_split(marks, ','), 1) - 1 AS who
    FROM lines WHERE marks <> ''
)
SELECT m.application, m.dialogue, m.said = 'OVERALL' AS whole, m.rated, m.time + 2000 + m.who * 500 AS time,
    m.mark::INT AS rating, t.topic, CASE WHEN t.answers THEN t.model ELSE '' END AS model
FROM marked m JOIN lines t
    ON t.application = m.application AND t.dialogue = m.dialogue AND t.place = coalesce(m.rated, 0);
CREATE TABLE questions AS SELECT * FROM lines WHERE NOT answers AND said <> 'OVERALL';
CREATE TABLE answers AS
SELECT l.*, 300 + 7 * length(l.said) AS latency, coalesce(r.good, 0) AS good, coalesce(r.bad, 0) AS bad,
    coalesce(r.middling, 0) AS middling
FROM lines l LEFT JOIN (
    SELECT application, dialogue, rated, count(*) FILTER (rating >= 4) AS good, count(*) FILTER (rating <= 2) AS bad,
        count(*) FILTER (rating = 3) AS middling
    FROM ratings WHERE NOT whole AND rated IS NOT NULL GROUP BY ALL
) r ON r.application = l.application AND r.dialogue = l.dialogue AND r.rated = l.place
WHERE l.answers;
"""


def expected(uss: Path, multiwoz: Path) -> Iterator[tuple[Place, tuple[float, int]]]:
    """Yield value and count of each KPI in each window and group.

    :arg multiwoz: The file out of the archive.
    """
    import duckdb

    with duckdb.connect(":memory:", config={"memory_limit": "2GB"}) as db:
        db.execute(_USS, [str(uss)])
        db.execute(_MULTIWOZ, [str(multiwoz)])
        for name, number in _ARITHMETIC.items():
            db.execute(f"SET VARIABLE {name} = {number}")
        db.execute(_FACTS)
        for kpi in KPIS:
            for grouping in GROUPINGS:
                if kpi.facts == "questions" and "model" in grouping:
                    continue
                for window, rows in _windows(db, kpi, grouping):
                    for start, end, *group, value, count in rows:
                        place = (kpi.name, window, start, end, tuple(zip(grouping, group, strict=True)))
                        yield place, (float(value), count)


_BY_WINDOW = Template("""
SELECT start, start + $size, $fields $value AS value, count(*) AS count
FROM (SELECT *, unnest(range(time // $step * $step - ($size - $step), time + 1, $step)) AS start
    FROM $facts WHERE $condition)
GROUP BY ALL
""")
_BY_SESSION = Template("""
WITH counted AS (FROM $facts WHERE $condition),
    opened AS (SELECT *, coalesce(time - lag(time) OVER ($by ORDER BY time) > $gap, true)::INT AS opens FROM counted),
    numbered AS (SELECT *, sum(opens) OVER ($by ORDER BY time) AS session FROM opened)
SELECT min(time), max(time) + 1, $fields $value AS value, count(*) AS count FROM numbered GROUP BY $fields session
""")


def _windows(db: Any, kpi: Kpi, grouping: tuple[str, ...]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    parts = {
        "facts": kpi.facts,
        "value": kpi.value,
        "condition": kpi.where,
        "fields": "".join(f"{field}, " for field in grouping),
        "by": f"PARTITION BY {', '.join(grouping)}" if grouping else "",
    }
    for name, (size, step) in WINDOWS.items():
        yield name, db.execute(_BY_WINDOW.substitute(parts, size=size, step=step)).fetchall()
    yield SESSION, db.execute(_BY_SESSION.substitute(parts, gap=GAP)).fetchall()
