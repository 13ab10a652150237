"""The entry point of the distribution: Ctrl-C ends it silently from the first moment on, also while it is imported."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    # Ignored (by nohup, or in the background of a shell) stays ignored.
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if plain:
        # Some imports take an exception for their own failure, and others print it.
        signal.signal(signal.SIGINT, _end)
    from serving.cli import main as run

    try:
        if plain:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
