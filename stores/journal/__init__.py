"""Journals of identity graphs: every state since an hour ago."""
