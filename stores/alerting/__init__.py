"""Where alerts of the feedback flow go: one port, and one file for each place."""
