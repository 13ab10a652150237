"""Training data of the lake: good answers as chat lines, better and worse ones as pairs, nobody's personal data."""
