"""What brings changes from elsewhere onto the log: one port, and an adapter for each kind of source."""
