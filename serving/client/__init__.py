"""The Python client of the HTTP interface."""
