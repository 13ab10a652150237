"""What goes from the log to elsewhere: one port, and an adapter for each kind of target."""
