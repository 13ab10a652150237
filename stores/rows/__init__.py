"""The row store: live tables, what they looked like, and how fresh they are."""
