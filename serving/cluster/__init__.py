"""Flows as processes of Bytewax: one, or several that live and die together."""
