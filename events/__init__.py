"""The words of the system as types. Imports nothing of ours; everything may import it."""
