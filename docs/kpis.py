"""A notebook over the KPI store: KPIs over time and by group, alerts, and SQL of your own.

It reads the store that the settings name, as `headrace kpi` does, and never writes:

    pip install -e ".[notebook]"
    HEADRACE_CONFIG=fixtures/streams/headrace.toml headrace replay feedback fixtures/streams
    HEADRACE_CONFIG=fixtures/streams/headrace.toml marimo edit docs/kpis.py
"""

# A cell takes what others have made, imports what it needs, and ends with what it shows.
# ruff: noqa: B018, PLC0415, PLR0917, PLR1711

import marimo

app = marimo.App(width="medium", app_title="Headrace: KPIs")


@app.cell
def _():
    import sys
    from pathlib import Path

    import marimo as mo

    # The notebook may be opened from anywhere.
    sys.path.insert(0, str(Path(__file__).parents[1]))

    from events.clock import to_iso
    from events.errors import HeadraceError
    from serving.kpis import written
    from stores.kpis.reader import KpiReader
    from stores.settings import load

    return HeadraceError, KpiReader, load, mo, to_iso, written


@app.cell
def _(KpiReader, load, mo):
    settings = load()
    reader = KpiReader(settings.kpis_path)
    kpis = {kpi.name: kpi for kpi in settings.feedback.all_kpis()}
    stored = [one for one in reader.kpis() if one.kpi in kpis]
    mo.stop(
        not stored,
        mo.md(f"There are no KPIs in `{settings.kpis_path}` yet: `headrace run feedback` computes them."),
    )
    refresh = mo.ui.refresh(options=["1s", "10s", "1m"], label="read again")
    counts = reader.counts()
    mo.vstack(
        [
            mo.md("# How good are the answers?"),
            mo.hstack(
                [
                    mo.stat(f"{counts[kind]:,}", label=label)
                    for kind, label in (
                        ("answers", "answers"),
                        ("ratings", "ratings"),
                        ("comments", "comments"),
                        ("alerts", "alerts that stand"),
                    )
                ]
            ),
            refresh,
        ]
    )
    return kpis, reader, refresh, settings, stored


@app.cell
def _(mo, stored):
    names = sorted({one.kpi for one in stored})
    first = "bad_share" if "bad_share" in names else names[0]
    kpi = mo.ui.dropdown(names, value=first, label="KPI")
    kpi
    return (kpi,)


@app.cell
def _(kpi, mo, stored):
    of_kpi = [one for one in stored if one.kpi == kpi.value]
    windows = sorted({one.window for one in of_kpi})
    groupings = {
        " and ".join(grouping) or "all together": grouping for grouping in sorted({one.grouping for one in of_kpi})
    }
    window = mo.ui.dropdown(windows, value="1h" if "1h" in windows else windows[0], label="windows of")
    grouping = mo.ui.dropdown(groupings, value=next(iter(groupings)), label="by")
    last = mo.ui.slider(10, 500, value=100, step=10, label="windows")
    mo.hstack([window, grouping, last], justify="start")
    return grouping, last, window


@app.cell
def _(grouping, kpi, kpis, last, reader, refresh, settings, to_iso, window, written):
    refresh
    rule = kpis[kpi.value]
    values = reader.values(kpi.value, window=window.value, grouping=grouping.value, last=last.value)
    rows = [
        {
            "begin": to_iso(one.start),
            "group": ", ".join(value for _, value in one.group) or "all",
            "value": one.value,
            "shown": written(one.value, rule, settings.feedback.currency),
            "of": one.count,
            "late": one.late,
            "stage": one.stage,
        }
        for one in values
    ]
    return (rows,)


@app.cell
def _():
    WIDTH, HEIGHT, EDGE, MOST = 760, 240, 40, 8
    COLOURS = ("#0b6e99", "#c2571a", "#2f7d32", "#7b3f9e", "#a8324a", "#6b6b00", "#00796b", "#5d4037")

    def chart(rows):
        """Draw a line for each group; those with the most events, if there are many."""
        from html import escape

        events = {}
        for row in rows:
            events[row["group"]] = events.get(row["group"], 0) + row["of"]
        groups = sorted(events, key=lambda group: (-events[group], group))[:MOST]
        begins = sorted({row["begin"] for row in rows})
        found = [row["value"] for row in rows if row["group"] in groups and row["value"] is not None]
        low, high = min(found, default=0.0), max(found, default=1.0)
        low, high = min(low, 0.0), high if high > low else low + 1
        across = {begin: EDGE + at * (WIDTH - 2 * EDGE) / max(1, len(begins) - 1) for at, begin in enumerate(begins)}
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 20 * len(groups)}" role="img"',
            ' style="max-width:100%;font:12px sans-serif" fill="currentColor">',
            f'<text x="0" y="{EDGE}">{high:.4g}</text><text x="0" y="{HEIGHT - EDGE}">{low:.4g}</text>',
            f'<text x="{EDGE}" y="{HEIGHT - 12}">{begins[0] if begins else ""}</text>',
            f'<text x="{WIDTH - EDGE}" y="{HEIGHT - 12}" text-anchor="end">{begins[-1] if begins else ""}</text>',
        ]
        for number, group in enumerate(groups):
            colour = COLOURS[number]
            points = [
                (across[row["begin"]], HEIGHT - EDGE - (row["value"] - low) / (high - low) * (HEIGHT - 2 * EDGE))
                for row in rows
                if row["group"] == group and row["value"] is not None
            ]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
            label = escape(group)
            parts.append(f'<text x="{EDGE}" y="{HEIGHT + 14 + 20 * number}" fill="{colour}">&#9632; {label}</text>')
        return "".join([*parts, "</svg>"])

    return (chart,)


@app.cell
def _(chart, kpi, mo, rows, window):
    mo.vstack(
        [
            mo.md(f"## {kpi.value}, in windows of {window.value}"),
            mo.Html(chart(rows)),
            mo.ui.table([{name: row[name] for name in row if name != "value"} for row in rows[::-1]], selection=None),
        ]
    )
    return


@app.cell
def _(mo, reader, refresh, to_iso):
    refresh
    alerts = [
        {
            "state": one.alert.state,
            "severity": one.alert.severity,
            "since": to_iso(one.alert.since) if one.alert.since else "",
            "alert": one.alert.rule,
            "what": one.alert.text,
            "documents": ", ".join(one.alert.documents),
            "rows": one.alert.rows,
        }
        for one in reader.alerts()
    ]
    mo.vstack(
        [
            mo.md("## Alerts"),
            mo.ui.table(alerts, selection=None) if alerts else mo.md("There were none."),
        ]
    )
    return


@app.cell
def _(mo):
    query = mo.ui.text_area(
        "SELECT topic, count(*) AS answers, round(avg(score), 2) AS score, round(avg(latency)) AS ms\n"
        "FROM answers GROUP BY ALL ORDER BY answers DESC",
        label="",
        rows=4,
        full_width=True,
    )
    mo.vstack(
        [
            mo.md(
                "## Ask yourself\n\nDuckDB's SQL over `answers`, `questions`, `ratings`, `comments`, `points`, `kpis` "
                "and `alerts`. It only reads; `rows` of an alert is such a statement."
            ),
            query,
        ]
    )
    return (query,)


@app.cell
def _(HeadraceError, mo, query, reader, refresh):
    refresh
    try:
        answer = reader.sql(query.value, rows=1000)
        shown = mo.ui.table([dict(zip(answer.columns, row, strict=True)) for row in answer.rows], selection=None)
    except HeadraceError as error:
        shown = mo.callout(mo.md(f"{error}"), kind="warn")
    shown
    return


if __name__ == "__main__":
    app.run()
