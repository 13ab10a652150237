"""Colours of pictures, for light and for dark ones; told apart also by people who see fewer of them.

After M. Okabe and K. Ito, Color Universal Design (2008), darkened or lightened for contrast.
"""

from __future__ import annotations

from typing import NamedTuple


class Colours(NamedTuple):
    """One set of colours.

    :arg types: Of types of identifiers, the strongest first, then around again.
    :arg tables: Of tables.
    """

    ground: str
    box: str
    ink: str
    faint: str
    grey: str
    types: tuple[str, ...]
    tables: tuple[str, ...]


LIGHT = Colours(
    ground="#ffffff",
    box="#f6f7f9",
    ink="#1d2329",
    faint="#5b6570",
    grey="#8b949e",
    types=("#0072b2", "#c4500a", "#00805e", "#a3478a", "#8a6d00", "#3d6fd9", "#a32c2c"),
    tables=("#56a5d8", "#e69f00", "#3bb089", "#d07ab0", "#b9a400", "#7d8fe0", "#d9735f"),
)

DARK = Colours(
    ground="#12161b",
    box="#1e242b",
    ink="#e8ecf0",
    faint="#9aa5b1",
    grey="#6e7882",
    types=("#5ab4ec", "#f0924f", "#3fc79c", "#dd8cc4", "#d8bd3f", "#8fb0f5", "#ec8080"),
    tables=("#3c86b5", "#b98107", "#2b8c6c", "#a95c8d", "#93830c", "#6071bd", "#b35a49"),
)
