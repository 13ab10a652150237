"""A command of `headrace` that ends with who has started it, however that ends.

    python -m serving.supervise.child DESCRIPTOR COMMAND…

DESCRIPTOR is the reading end of a pipe whose other end only the starter holds: once nobody does, the command is told to
stop as by `kill`. So it needs no help of the system, and no moment at which the starter dies goes unnoticed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def main() -> None:
    """Run the command."""
    descriptor, *arguments = sys.argv[1:]
    threading.Thread(target=_end_with_starter, args=(int(descriptor),), name="starter", daemon=True).start()
    # Only now: what is imported takes a second, in which the starter may go.
    from serving.cli import main as run

    sys.argv = ["headrace", *arguments]
    run()


def _end_with_starter(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
