"""Free ports of this machine, by which the processes of one cluster find each other.

Invariant: they are loopback's, and between choosing and listening nobody else is given one of them by the system.
"""

from __future__ import annotations

import socket
import sys
from types import TracebackType

LOOPBACK = "127.0.0.1"


class Ports:
    """Ports that are kept free while the block lasts, for those who are to listen to them.

    :arg count: How many.
    :raises OSError: When the system has none.
    """

    def __init__(self, count: int) -> None:
        self._held: list[socket.socket] = []
        self.numbers: list[int] = []
        try:
            for _ in range(count):
                self.numbers.append(self._hold())
        except OSError:
            self.close()
            raise
        if sys.platform != "linux":
            self.close()

    def __enter__(self) -> Ports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def addresses(self) -> str:
        """Write them as Bytewax reads them."""
        return ";".join(f"{LOOPBACK}:{number}" for number in self.numbers)

    def close(self) -> None:
        """Let go of them. Who listens to one already is not disturbed."""
        for held in self._held:
            held.close()
        self._held.clear()

    def _hold(self) -> int:
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._held.append(held)
        # A port that is bound so, and not listened to, Linux still lends to who binds it so as well; it gives it to
        # nobody who asks for any. Elsewhere they are let go of at once, and a start that fails is tried again.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((LOOPBACK, 0))
        return int(held.getsockname()[1])
