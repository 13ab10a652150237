"""The read side: context assembly and the command line."""
