"""Retrievers for applications that are built with other frameworks, over the Python client."""
