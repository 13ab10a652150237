"""What the supervisor shows: what the processes say, each line under its name, and one calm line of how they are.

Whoever has left does not stop the work: what cannot be shown is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from serving.printable import printable

_COLOURS = ("cyan", "magenta", "green", "blue", "yellow", "bright_black")
_CALM = '"level": "info"'


class Told:
    """The terminal, or whatever stands in its place.

    :arg console: Where to.
    :arg names: Of all processes.
    """

    def __init__(self, console: Console, names: list[str]) -> None:
        self._console = console
        self._width = max(map(len, names), default=0)
        self._colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
        self._status = ""
        self._live: Live | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks at it as it changes."""
        return self._console.is_terminal

    def line(self, name: str, text: str) -> None:
        """Show what a process has said; what a server says of each request stays in its log."""
        if not (text.startswith("{") and _CALM in text):
            self._print(Text.assemble((f"{name:{self._width}} │ ", self._colours.get(name, "")), printable(text)))

    def say(self, text: str, style: str = "") -> None:
        """Show a line of the supervisor's own."""
        self._print(Text(text, style))

    def status(self, text: str) -> None:
        """Show how everything is: on a terminal always as the last line, elsewhere when it has changed."""
        if text == self._status:
            return
        self._status = text
        if not self.is_terminal:
            self._print(Text(text))
            return
        with _whoever_listens():
            if self._live is None:
                self._live = Live(
                    console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
                )
                self._live.start()
            self._live.update(Text(text, "dim", no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._live is not None:
            with _whoever_listens():
                self._live.update(Text(""), refresh=True)
                self._live.stop()

    def _print(self, text: Text) -> None:
        with _whoever_listens():
            # Never broken: an address is to be clicked on, and a line to be searched for.
            self._console.print(text, soft_wrap=True)


@contextmanager
def _whoever_listens() -> Iterator[None]:
    try:
        yield
    except OSError:
        pass
    except SystemExit:
        pass  # so the console answers a broken pipe; it is quiet from then on
