"""All processes together: who is due is started, what they say is passed on, who has ended is started again.

Nothing here waits and no signal is handled: `turn` is called again and again, at last `stop`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from events.clock import Clock
from events.errors import PASSING
from serving.supervise.health import ProcessHealth, State
from serving.supervise.log_file import LogFile
from serving.supervise.process import Process
from serving.supervise.restarts import Restarts
from serving.supervise.told import Told

SERVER = "server"
_EXPLAINED = "headrace: "
"""What stops a command, and can be mended, is told in one line that begins so."""
_SERVING = re.compile(r"serving (https?://\S+)")


class Member:
    """One process and its fate.

    :arg name: A flow's, or `server`.
    :arg process: Runs it.
    :arg ticks: A clock in milliseconds that only ever grows.
    :arg clock: Tells since when it is as it is.
    """

    def __init__(self, name: str, process: Process, log: LogFile, ticks: Clock, clock: Clock) -> None:
        self.name = name
        self.process = process
        self.restarts = Restarts(ticks())
        self.log = log
        self.said = ""
        self.heard = ""
        """Its last line."""
        self.since = clock()
        self._ticks = ticks
        self._clock = clock

    @property
    def state(self) -> State:
        """Whether it runs, waits to be started, or was given up."""
        if self.restarts.given_up:
            return "given up"
        return "running" if self.process.pid is not None else "waiting"

    @property
    def seconds(self) -> int:
        """Seconds until it is started again."""
        return max(0, (self.restarts.due or 0) - self._ticks() + 999) // 1000

    def health(self) -> ProcessHealth:
        """Return how it is, for others."""
        return ProcessHealth(self.state, self.process.pid, self.since, max(0, self.restarts.count), self.said)

    def start(self) -> None:
        """Start it, if it is due."""
        if not self.restarts.is_due(self._ticks()):
            return
        self.heard = ""
        self.restarts.started(self._ticks())
        self.since = self._clock()
        try:
            self.process.start()
        except OSError as error:
            self.end(f"cannot be started: {error.strerror}")

    def end(self, said: str, *, passing: bool = False) -> None:
        """Take note that it has ended.

        :arg passing: Whether what it has said may pass by itself: it is not given up for that.
        """
        explained = said.startswith(_EXPLAINED) and not passing
        self.said = said.removeprefix(_EXPLAINED)
        self.restarts.ended(self._ticks(), explained=explained)
        self.since = self._clock()


class Team:
    """All of them.

    :arg members: In the order in which they are started.
    :arg told: Shows what they say.
    :arg hidden: Words that go into no log and onto no terminal: the page's key.
    :arg announced: Told the server's address, whenever it has begun to serve.
    """

    def __init__(self, members: list[Member], told: Told, hidden: str, announced: Callable[[str], None]) -> None:
        self._members = members
        self._told = told
        self._hidden = hidden
        self._announced = announced

    @property
    def is_lost(self) -> bool:
        """Whether all of them have been given up."""
        return all(member.state == "given up" for member in self._members)

    @property
    def is_gone(self) -> bool:
        """Whether none of them runs."""
        return all(member.process.pid is None for member in self._members)

    def health(self) -> Mapping[str, ProcessHealth]:
        """Return how they are, by name."""
        return {member.name: member.health() for member in self._members}

    def turn(self) -> None:
        """Do what there is to be done at this moment."""
        for member in self._members:
            self._pass_on(member, member.process.lines())
            self._look_after(member)
            member.start()

    def status(self, *, ticking: bool) -> str:
        """Return in one line how they are.

        :arg ticking: Whether it may change each second.
        """
        running = [member.name for member in self._members if member.state == "running"]
        parts = [f"{', '.join(running)} {'runs' if len(running) == 1 else 'run'}"] if running else []
        for member in self._members:
            if member.state == "waiting":
                when = f"in {member.seconds} s" if ticking else "soon"
                parts.append(f"{member.name} is started {when}")
            elif member.state == "given up":
                parts.append(f"{member.name} was given up")
            elif member.restarts.count:
                parts.append(f"{member.name} was started again ({member.restarts.count})")
        return " · ".join([*parts, "Ctrl-C stops everything"])

    def stop(self) -> None:
        """Ask all of them to stop."""
        for member in self._members:
            member.process.stop()

    def kill(self) -> None:
        """End those that still run."""
        for member in self._members:
            member.process.kill()

    def await_end(self) -> None:
        """Pass on what those say that are about to end; call it until `is_gone`."""
        for member in self._members:
            self._pass_on(member, member.process.lines())
            ended = member.process.ended()
            if ended is not None:
                self._pass_on(member, ended[1])

    def close(self) -> None:
        """Give the log files back."""
        for member in self._members:
            member.log.close()

    def _look_after(self, member: Member) -> None:
        ended = member.process.ended()
        if ended is None:
            return
        code, last = ended
        self._pass_on(member, last)
        heard = member.heard
        member.end(heard if heard.startswith(_EXPLAINED) and code else "", passing=code == PASSING)
        if member.state == "given up":
            self._say(member, f"given up: {member.said}; mend it, then start `headrace up` again", "red")
            return
        if code == PASSING:
            self._say(member, f"cannot go on for now; it is started again in {member.seconds} s", "yellow")
            return
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._say(member, f"{how}; it is started again in {member.seconds} s", "yellow")

    def _pass_on(self, member: Member, lines: list[str]) -> None:
        if not lines:
            return
        if self._hidden:
            lines = [line.replace(self._hidden, "…") for line in lines]
        member.heard = lines[-1]
        member.log.write(lines)
        for line in lines:
            found = _SERVING.fullmatch(line) if member.name == SERVER else None
            if found is None:
                self._told.line(member.name, line)
            else:
                self._announced(found[1])

    def _say(self, member: Member, text: str, style: str) -> None:
        member.log.write([f"({text})"])
        self._told.say(f"{member.name} {text}", style)
