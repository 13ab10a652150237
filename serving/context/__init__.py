"""Assembles a context: who asks, what the question names, what is known of it, within a budget."""
