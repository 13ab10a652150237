"""One process and what it says: started in a session of its own, so that only who has started it tells it to stop.

Nothing here waits. Standard output and standard error are one stream of lines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_BLOCK = 64 * 2**10
_LONGEST_LINE = 16 * 2**10
"""Bytes after which a line that does not end is cut."""


class Process:
    """The process, over all its lives.

    :arg command: The module that Python is to run, and its arguments.
    :arg environment: All variables of it.
    :arg passed: Open files that it gets, under the numbers that they have here.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], passed: Sequence[int]) -> None:
        self.command = command
        """Of the next start."""
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._passed = tuple(passed)
        self._process: subprocess.Popen[bytes] | None = None
        self._output: int | None = None
        self._rest = b""

    @property
    def pid(self) -> int | None:
        """Its number; None while it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def output(self) -> int | None:
        """The descriptor that can be read when it has said something; None while it does not run."""
        return self._output

    def start(self) -> None:
        """Start it.

        :raises OSError: When the system cannot.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            self._process = subprocess.Popen(  # noqa: S603  # ours
                [sys.executable, "-m", *self.command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
                pass_fds=self._passed,
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._output, self._rest = reading, b""

    def lines(self) -> list[str]:
        """Return the whole lines that it has said since the last call."""
        if self._output is None:
            return []
        with suppress(BlockingIOError):
            # Not for ever: others want to be heard as well.
            for _ in range(16):
                block = os.read(self._output, _BLOCK)
                self._rest += block
                if len(block) < _BLOCK:
                    break
        *whole, self._rest = self._rest.split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], b""
        return [_text(line) for line in whole if line.strip()]

    def ended(self) -> tuple[int, list[str]] | None:
        """Return its exit code and the last it has said, once it has ended; None before that, and only once."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        last = self.lines()
        if self._rest.strip():
            last.append(_text(self._rest))
        if self._output is not None:
            os.close(self._output)
        self._process, self._output, self._rest = None, None, b""
        return code, last

    def stop(self) -> None:
        """Ask it to stop."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it, and all that it has started, at once."""
        if self._process is None:
            return
        for pid in [*descendants(self._process.pid), self._process.pid]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def headrace(alive: int, *arguments: str) -> list[str]:
    """Return the command by which `headrace` does what its arguments say, and ends with this process.

    :arg alive: Reading end of a pipe whose other end this process alone holds; it is to be passed.
    """
    return ["serving.supervise.child", str(alive), *arguments]


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have, in whichever session; Linux only."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold spaces and parentheses itself.
            parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def _text(line: bytes) -> str:
    return line[:_LONGEST_LINE].decode(errors="replace").rstrip().expandtabs(4)
