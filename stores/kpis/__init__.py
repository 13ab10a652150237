"""The analytical store: facts, KPIs and alerts in one DuckDB file."""
