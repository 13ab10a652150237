"""A picture as SVG, and as a page that holds it: complete in itself, light or dark as its reader's screen is.

Every text and every title is escaped: what a row holds is never markup.
"""

from __future__ import annotations

from html import escape

from serving.draw_person.colours import DARK, LIGHT, Colours
from serving.draw_person.scene import Box, Key, Line, Scene, Text

_FACE = "'DejaVu Sans', 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_RULES = f"""
.person {{ color-scheme: light dark; font-family: {_FACE}; background: var(--ground) }}
.person text {{ fill: var(--ink); white-space: pre }}
.person .strong {{ font-weight: 600 }}
.person .faint {{ fill: var(--faint) }}
.person line {{ stroke-width: 1.6; stroke-opacity: .75 }}
.person line.marked {{ stroke-width: 4.5; stroke-opacity: 1 }}
.person .held {{ stroke-dasharray: 7 5 }}
.person .shared {{ stroke: var(--grey) !important; stroke-dasharray: 2 4 }}
.person .box {{ fill: var(--box); stroke: var(--grey); stroke-width: 1 }}
.person .pill {{ fill: var(--ground); stroke-width: 1.6 }}
.person .marked.box, .person .marked.pill {{ stroke-width: 3 }}
.person .marked.box {{ stroke: var(--ink) }}
.person g.item:hover .box, .person g.item:hover .pill {{ stroke-width: 3 }}
"""


def svg(scene: Scene, *, rules: bool = True) -> str:
    """Return the picture as one SVG element.

    :arg rules: Whether its style rules are within; a page that has them itself needs none.
    """
    width, height = round(scene.width), round(scene.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="person" role="img" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" aria-label="{escape(scene.title.text)}">'
    ]
    if rules:
        parts.append(f"<style>{_style()}</style>")
    parts.append(f'<rect width="{width}" height="{height}" fill="var(--ground)"/>')
    parts += [_text(scene.title), _text(scene.subtitle, "faint")]
    parts += [_line(line) for line in sorted(scene.lines, key=lambda line: line.marked)]
    parts += [_box(box) for box in scene.boxes]
    parts += [_key(key) for key in scene.legend]
    return "\n".join([*parts, "</svg>\n"])


def page(scene: Scene) -> str:
    """Return the picture as a whole page, without anything that would have to be fetched."""
    title = escape(scene.title.text)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_style()}\n"
        "body { margin: 0; background: var(--ground); display: flex; justify-content: center }\n"
        "svg.person { max-width: 100%; height: auto }\n"
        f"</style>\n</head>\n<body>\n{svg(scene, rules=False)}</body>\n</html>\n"
    )


def _style() -> str:
    light, dark = (f":root {{ {_variables(colours)} }}" for colours in (LIGHT, DARK))
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}{_RULES}"


def _variables(colours: Colours) -> str:
    plain = {"ground": colours.ground, "box": colours.box, "ink": colours.ink, "faint": colours.faint}
    named = {**plain, "grey": colours.grey}
    named |= {f"type-{number}": colour for number, colour in enumerate(colours.types)}
    named |= {f"table-{number}": colour for number, colour in enumerate(colours.tables)}
    return "; ".join(f"--{name}: {colour}" for name, colour in named.items())


def _type(colour: int) -> str:
    return f"var(--type-{colour % len(LIGHT.types)})"


def _table(colour: int) -> str:
    return f"var(--table-{colour % len(LIGHT.tables)})"


def _text(text: Text, kind: str = "") -> str:
    kinds = " ".join(filter(None, ["strong" if text.strong else "", kind]))
    named = f' class="{kinds}"' if kinds else ""
    return f'<text x="{text.x:.1f}" y="{text.y:.1f}" font-size="{text.size:g}"{named}>{escape(text.text)}</text>'


def _line(line: Line) -> str:
    kinds = " ".join(filter(None, [line.state, "marked" if line.marked else ""]))
    (x1, y1), (x2, y2) = line.start, line.end
    return (
        f'<line class="{kinds}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'style="stroke: {_type(line.colour)}"/>'
    )


def _box(box: Box) -> str:
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    marked = " marked" if box.marked else ""
    parts = [f'<g class="item"><title>{escape(box.about)}</title>']
    if box.kind == "record":
        parts.append(f'<rect class="box{marked}" rx="5" {place}/>')
        strip = f'x="{box.x:.1f}" y="{box.y:.1f}" width="6" height="{box.height:.1f}"'
        parts.append(f'<rect rx="3" {strip} style="fill: {_table(box.colour)}"/>')
    else:
        style = f'style="stroke: {_type(box.colour)}"'
        parts.append(f'<rect class="pill {box.state}{marked}" rx="{min(18.0, box.height / 2):.1f}" {place} {style}/>')
    parts += [_text(text, "faint" if number else "") for number, text in enumerate(box.texts)]
    return "".join([*parts, "</g>"])


def _key(key: Key) -> str:
    x, y = key.x, key.y
    if key.kind == "record":
        sign = f'<rect x="{x:.1f}" y="{y - 6:.1f}" width="18" height="12" rx="3" style="fill: {_table(key.colour)}"/>'
    elif key.kind == "identifier":
        style = f'style="stroke: {_type(key.colour)}"'
        sign = f'<rect class="pill" x="{x + 1:.1f}" y="{y - 5:.1f}" width="16" height="10" rx="5" {style}/>'
    else:
        sign = (
            f'<line class="{key.kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{x + 20:.1f}" y2="{y:.1f}" '
            'style="stroke: var(--faint)"/>'
        )
    return sign + _text(key.text, "faint")
