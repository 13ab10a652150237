"""The contexts that were served, as they were served."""
