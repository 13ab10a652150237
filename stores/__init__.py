"""Where: every place that keeps data, one port and one file per adapter."""
