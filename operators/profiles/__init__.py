"""Profiles: what a person's rows and activities come to."""
