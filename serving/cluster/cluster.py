"""The processes of one flow, which live and die together.

Bytewax cannot take a process back into a cluster that it has left, so that when one ends, however it does, all are
ended and all are started again, with other ports. Nothing here waits and no signal is handled: `turn` is called again
and again, at last `stop`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from events.clock import Clock
from events.errors import PASSING
from serving.cluster.health import State
from serving.cluster.ports import Ports
from serving.supervise.log_file import LogFile
from serving.supervise.process import Process
from serving.supervise.restarts import Restarts

FALL_MILLIS = 2_000
"""Those that lose one of them notice it in a tenth of a second; later, they hang, and have nothing to say."""
LEFT_MILLIS = 5_000
"""All reach the end of what there is to do together. Who goes on for so long after the first one hangs without it."""
EXPLAINED = "headrace: "
"""What stops a flow, and can be mended, is told in one line that begins so."""
_GRAVE = ("WARNING ", "ERROR ", "CRITICAL ")

Command = Callable[[int, str], list[str]]
"""Returns what process number N is to run, with the addresses of all."""


class Member:
    """One process of them.

    :arg process: Runs it.
    :arg log: Where what it says is kept.
    """

    def __init__(self, process: Process, log: LogFile) -> None:
        self.process = process
        self.log = log
        self.explained = ""
        """Its last line that explains what stopped it."""
        self.passing = False
        """Whether that may pass by itself."""


class Cluster:
    """All of them.

    :arg members: By their number.
    :arg command: What each of them runs.
    :arg restarts: When they are started again.
    :arg ticks: A clock in milliseconds that only ever grows.
    :arg clock: Tells since when it is as it is.
    :arg say: Told in one line what happens, and what a process itself says that cannot wait.
    """

    def __init__(
        self,
        members: Sequence[Member],
        command: Command,
        restarts: Restarts,
        *,
        ticks: Clock,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._members = members
        self._command = command
        self._restarts = restarts
        self._ticks = ticks
        self._clock = clock
        self._say = say
        self._ports: Ports | None = None
        self._fallen: int | None = None
        self._left: tuple[int, int] | None = None
        self.code: int | None = None
        """How all has ended; None as long as it goes on."""
        self.error = ""
        """What ended them last."""
        self.since = clock()

    @property
    def state(self) -> State:
        """Whether they run or wait to be started."""
        return "waiting" if self._is_gone and self._restarts.due is not None else "running"

    @property
    def pids(self) -> tuple[int | None, ...]:
        """Ids of the processes, None where there is none at this moment."""
        return tuple(member.process.pid for member in self._members)

    @property
    def restarted(self) -> int:
        """How often they were started again."""
        return max(0, self._restarts.count)

    @property
    def _is_gone(self) -> bool:
        return all(member.process.pid is None for member in self._members)

    def turn(self) -> None:
        """Do what there is to be done at this moment."""
        if self.code is not None:
            return
        if self._restarts.is_due(self._ticks()):
            self._start()
        for number, member in enumerate(self._members):
            self._look_after(number, member)
        if self._left is not None and not self._is_gone and self._ticks() - self._left[1] >= LEFT_MILLIS:
            self._fall(f"process {self._left[0]} ended while others went on")
        if self._fallen is not None and (self._has_explained or self._ticks() - self._fallen >= FALL_MILLIS):
            self.kill()
        if self._is_gone and self._restarts.due is None:
            self._conclude()

    def stop(self) -> None:
        """Ask all of them at once to stop: one that hears it alone would hang."""
        for member in self._members:
            member.process.stop()

    def kill(self) -> None:
        """End those that still run."""
        for member in self._members:
            member.process.kill()

    def await_end(self) -> bool:
        """Keep what those say that are about to end; tell whether all have."""
        for member in self._members:
            self._keep(member, member.process.lines())
            if (ended := member.process.ended()) is not None:
                self._keep(member, ended[1])
        return self._is_gone

    def close(self) -> None:
        """Give log files and ports back."""
        for member in self._members:
            member.log.close()
        self._release()

    @property
    def _explanation(self) -> str:
        return next((member.explained for member in self._members if member.explained), "")

    @property
    def _has_explained(self) -> bool:
        # Only its exit code tells whether it may pass: who is about to end is not killed.
        return any(member.explained and member.process.pid is None for member in self._members)

    def _start(self) -> None:
        self._release()
        self._fallen = self._left = None
        self._restarts.started(self._ticks())
        self.since = self._clock()
        try:
            self._ports = Ports(len(self._members))
            for number, member in enumerate(self._members):
                member.explained, member.passing = "", False
                member.process.command = self._command(number, self._ports.addresses)
                member.process.start()
        except OSError as error:
            self._fall(f"they cannot be started: {error.strerror}")

    def _look_after(self, number: int, member: Member) -> None:
        self._hear(number, member, member.process.lines())
        ended = member.process.ended()
        if ended is None:
            return
        code, last = ended
        self._hear(number, member, last)
        if code:
            member.passing = code == PASSING
            self._fall(f"process {number} {_how(code)}")
            return
        member.explained = ""
        if self._left is None:
            self._left = number, self._ticks()

    def _fall(self, how: str) -> None:
        # The others end because of the first one: they have nothing to add, unless one of them explains it.
        if self._fallen is None:
            self._fallen, self.error = self._ticks(), how

    def _conclude(self) -> None:
        self._release()
        self.since = self._clock()
        if self._fallen is None:
            self.code = 0
            return
        explained = self._explanation
        if explained:
            self.error = explained.removeprefix(EXPLAINED)
        lasting = bool(explained) and not any(member.passing for member in self._members)
        self._restarts.ended(self._ticks(), explained=lasting)
        if self._restarts.given_up:
            self.code = 1
            self._say(explained)
            return
        seconds = max(1, ((self._restarts.due or 0) - self._ticks() + 999) // 1000)
        self._say(f"{self.error}; all processes are started again in {seconds} s")
        for member in self._members:
            member.log.write([f"({self.error})"])

    def _hear(self, number: int, member: Member, lines: list[str]) -> None:
        self._keep(member, lines)
        for line in lines:
            if line.startswith(EXPLAINED):
                member.explained = line
            elif line.startswith(_GRAVE):
                self._say(f"process {number}: {line}")

    @staticmethod
    def _keep(member: Member, lines: list[str]) -> None:
        if lines:
            member.log.write(lines)

    def _release(self) -> None:
        if self._ports is not None:
            self._ports.close()
            self._ports = None


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
