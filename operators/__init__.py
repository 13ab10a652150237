"""How: custom Bytewax operators over pure logic. No I/O, no clock, no randomness of their own."""
