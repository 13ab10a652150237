"""Flows and server under one supervisor."""
