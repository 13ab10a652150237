"""A context on a terminal."""

from __future__ import annotations

from rich.console import Console, Group

from serving.show_context import item_view
from tests.serving.answer.samples import FARE, NOW, item


def drawn(*views: object) -> str:
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(Group(*views))  # type: ignore[arg-type]  # whatever is drawn
    return captured.get()


def test_what_speaks_against_an_item_stands_before_what_it_says() -> None:
    warned = item(1, "Fare of flight CV 512", warning="deleted [at] its\x1b[2J source")
    lines = [line.strip() for line in drawn(*item_view(warned, NOW, NOW)).splitlines()]
    assert lines[2:] == ["deleted [at] its\ufffd[2J source", "Fare of flight CV 512"]
    assert "deleted" not in drawn(*item_view(FARE, NOW, NOW))
