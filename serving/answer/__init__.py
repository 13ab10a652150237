"""Answers from a context: by a model behind an endpoint, or put together from the context itself."""
