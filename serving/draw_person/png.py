"""A picture as PNG, drawn by matplotlib without its state of the whole process."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Literal

from events.errors import MissingExtraError
from serving.draw_person.colours import LIGHT
from serving.draw_person.scene import Box, Key, Line, Scene, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PER_INCH = 100.0
_POINT = 72.0 / _PER_INCH
_DENSITY = 2
"""Pixels of the file for one of the scene, for screens that have more."""

_Style = Literal["-"] | tuple[float, tuple[float, ...]]
_DASHES: dict[str, _Style] = {"links": "-", "marked": "-", "held": (0, (5, 3)), "shared": (0, (1, 2))}


def png(scene: Scene) -> bytes:
    """Return the picture as a PNG file.

    :raises MissingExtraError: When matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        package, extra = "matplotlib", "draw"
        raise MissingExtraError(package, extra) from None

    figure = Figure(figsize=(scene.width / _PER_INCH, scene.height / _PER_INCH), facecolor=LIGHT.ground)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    for line in sorted(scene.lines, key=lambda line: line.marked):
        _line(axes, line)
    for box in scene.boxes:
        _box(axes, box)
    for key in scene.legend:
        _key(axes, key)
    _text(axes, scene.title, LIGHT.ink)
    _text(axes, scene.subtitle, LIGHT.faint)
    out = io.BytesIO()
    with warnings.catch_warnings():
        # Letters of scripts that the face lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format="png", dpi=_PER_INCH * _DENSITY, metadata={"Software": None})
    return out.getvalue()


def _line(axes: Axes, line: Line) -> None:
    from matplotlib.lines import Line2D

    colour = LIGHT.grey if line.state == "shared" else _type(line.colour)
    drawn = Line2D(
        [line.start[0], line.end[0]],
        [line.start[1], line.end[1]],
        color=colour,
        alpha=1.0 if line.marked else 0.75,
        linewidth=(4.5 if line.marked else 1.6) * _POINT,
        linestyle=_DASHES[line.state],
        zorder=1,
    )
    axes.add_line(drawn)


def _box(axes: Axes, box: Box) -> None:
    if box.kind == "record":
        edge = LIGHT.ink if box.marked else LIGHT.grey
        _rounded(
            axes, (box.x, box.y, box.width, box.height), 5.0, fill=LIGHT.box, edge=edge, line=3.0 if box.marked else 1.0
        )
        _rounded(axes, (box.x, box.y, 6.0, box.height), 3.0, fill=_table(box.colour))
    else:
        edge = LIGHT.grey if box.state == "shared" else _type(box.colour)
        radius, width = min(18.0, box.height / 2), 3.0 if box.marked else 1.6
        _rounded(
            axes,
            (box.x, box.y, box.width, box.height),
            radius,
            fill=LIGHT.ground,
            edge=edge,
            line=width,
            state=box.state,
        )
    for number, text in enumerate(box.texts):
        _text(axes, text, LIGHT.faint if number else LIGHT.ink)


def _key(axes: Axes, key: Key) -> None:
    from matplotlib.lines import Line2D

    if key.kind == "record":
        _rounded(axes, (key.x, key.y - 6, 18.0, 12.0), 3.0, fill=_table(key.colour))
    elif key.kind == "identifier":
        _rounded(axes, (key.x + 1, key.y - 5, 16.0, 10.0), 5.0, fill=LIGHT.ground, edge=_type(key.colour), line=1.6)
    else:
        width = 4.5 if key.kind == "marked" else 1.6
        ends = ([key.x, key.x + 20], [key.y, key.y])
        line = Line2D(*ends, color=LIGHT.faint, linewidth=width * _POINT, linestyle=_DASHES[key.kind])
        axes.add_line(line)
    _text(axes, key.text, LIGHT.faint)


def _rounded(
    axes: Axes,
    place: tuple[float, float, float, float],
    radius: float,
    *,
    fill: str,
    edge: str = "none",
    line: float = 0.0,
    state: str = "links",
) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = place
    style = f"round,pad=0,rounding_size={radius}"
    patch = FancyBboxPatch(
        (x, y),
        width,
        height,
        boxstyle=style,
        facecolor=fill,
        edgecolor=edge,
        linewidth=line * _POINT,
        linestyle=_DASHES[state],
        zorder=2,
    )
    axes.add_patch(patch)


def _text(axes: Axes, text: Text, colour: str) -> None:
    weight = "bold" if text.strong else "normal"
    axes.text(
        text.x,
        text.y,
        text.text,
        fontsize=text.size * _POINT,
        fontfamily="DejaVu Sans",
        weight=weight,
        color=colour,
        va="baseline",
        parse_math=False,
        zorder=3,
    )


def _type(colour: int) -> str:
    return LIGHT.types[colour % len(LIGHT.types)]


def _table(colour: int) -> str:
    return LIGHT.tables[colour % len(LIGHT.tables)]
