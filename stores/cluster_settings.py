"""Settings of flows that run in several processes."""

from __future__ import annotations

from pydantic import Field

from stores.sections import Section


class ClusterSettings(Section):
    """`[cluster]`: how flows run in several processes on one machine."""

    processes: int = Field(1, ge=1, le=64, description="processes of a flow that `headrace run` and `up` start")
    metrics_port: int = Field(
        0, ge=0, le=65_000, description="metrics of flows: each on this port plus its place among the flows; 0: none"
    )
    log_megabytes: float = Field(10.0, gt=0, le=10_000, description="what the log of a process may take on disk")
