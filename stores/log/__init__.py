"""The log: streaming storage. A port and its adapters, and the Bytewax source that reads any of them."""
