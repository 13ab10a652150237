"""One command a benchmark; peers beside us in the same run."""
