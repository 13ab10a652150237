"""Capture of PostgreSQL by its logical decoding."""
