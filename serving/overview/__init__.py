"""How everything stands: how far each flow is behind each of its sources, what the stores hold, what does not run."""

from serving.overview.state import Overview, SourceState
from serving.overview.watch import Watch

__all__ = ["Overview", "SourceState", "Watch"]
