"""Pieces of text on a terminal that stay whole when lines are wrapped, and branches that stay branches."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

_BAR = "│  "
_GAP = "  "
_DIM = Style(dim=True)


class Pieces:
    """Texts one after the other: a line ends between two of them, and within one only if it is wider than the line."""

    def __init__(self, texts: Sequence[str], style: str = "dim") -> None:
        self._texts = [Text(text, style=style, overflow="fold") for text in texts if text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield lines that hold as many of the texts as they can."""
        line = Text(overflow="fold")
        for text in self._texts:
            if line and line.cell_len + len(_GAP) + text.cell_len > options.max_width:
                yield line
                line = Text(overflow="fold")
            line.append_text(Text.assemble(_GAP, text) if line else text)
        yield line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Tell how narrow and how wide it can be."""
        widths = [text.cell_len for text in self._texts] or [0]
        least = Measurement(min(max(widths), options.max_width), sum(widths) + len(_GAP) * (len(widths) - 1))
        return least.with_maximum(options.max_width)


class Branch:
    """Something beside a bar that runs along all of its lines."""

    def __init__(self, inner: RenderableType, indent: str = "") -> None:
        self._inner = inner
        self._bar = Segment(indent + _BAR, _DIM)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of what is inside, each behind the bar."""
        width = max(1, options.max_width - self._bar.cell_length)
        for line in console.render_lines(self._inner, options.update(width=width, height=None), pad=False):
            yield self._bar
            yield from line
            yield Segment.line()
