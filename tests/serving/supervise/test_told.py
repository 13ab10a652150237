"""What is shown stays calm and readable, whatever processes say and whoever has left."""

from __future__ import annotations

import io

from rich.console import Console

from serving.supervise.told import Told


def shown(*lines: tuple[str, str], terminal: bool = False) -> str:
    output = io.StringIO()
    told = Told(Console(file=output, width=60, force_terminal=terminal, no_color=True), ["tables", "lake"])
    for name, text in lines:
        told.line(name, text)
    told.close()
    return output.getvalue()


def test_each_line_stands_whole_under_the_name_of_its_process() -> None:
    long = "x" * 200
    assert shown(("tables", "a"), ("lake", long)) == f"tables │ a\nlake   │ {long}\n"


def test_each_request_of_the_server_stays_in_its_log() -> None:
    request = '{"time": "2027", "level": "info", "message": "request"}'
    warning = '{"time": "2027", "level": "warning", "message": "told"}'
    assert shown(("server", request), ("server", warning)) == f"server │ {warning}\n"


def test_what_a_process_says_commands_no_terminal() -> None:
    assert shown(("lake", "\x1b[2J[bold]x[/]")) == "lake   │ \ufffd[2J[bold]x[/]\n"


def test_how_they_are_is_told_when_it_has_changed() -> None:
    output = io.StringIO()
    told = Told(Console(file=output, width=200), ["tables"])
    for text in ("all run", "all run", "one is started soon", "all run"):
        told.status(text)
    told.close()
    assert output.getvalue() == "all run\none is started soon\nall run\n"


def test_whoever_has_left_stops_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "the terminal has gone")

    told = Told(Console(file=Gone(), width=80, force_terminal=True), ["tables"])
    told.say("the page: x")
    told.status("all run")
    told.line("tables", "x")
    told.close()
