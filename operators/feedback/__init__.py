"""Feedback: from what was said and how it was received to facts, KPIs and alerts."""
