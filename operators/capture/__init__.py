"""What databases say of their changes, made into change events; plain Python."""
