"""Embedding models behind one port, and the cache that keeps the same text from being embedded twice."""
