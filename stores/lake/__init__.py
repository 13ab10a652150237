"""The lake: whole conversations in Delta Lake."""
