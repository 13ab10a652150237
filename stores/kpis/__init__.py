"""The analytical store: facts, KPIs and alerts in DuckDB."""
