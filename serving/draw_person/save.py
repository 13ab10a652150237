"""Pictures of persons as files: what the name ends in says how."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from events.errors import HeadraceError
from serving.draw_person.compose import scene_of
from serving.draw_person.png import png
from serving.draw_person.scene import Scene
from serving.draw_person.svg import page, svg
from serving.person_graph import Node
from serving.profiles import Profiles


def picture(profiles: Profiles, persons: Sequence[str], title: str, marked: Collection[Node] = ()) -> Scene:
    """Return the picture of one or a few persons.

    :arg marked: What stands out in it.
    """
    members = [member for person in persons for member in profiles.members(person)]
    types = [one.type for one in profiles.settings.profiles.identifiers]
    return scene_of(title, members, profiles.shared(), types, profiles.name_of, marked=marked)


def save(scene: Scene, path: Path) -> None:
    """Write a picture to a file ending in `.html`, `.svg` or `.png`.

    :raises HeadraceError: When it ends in something else, or cannot be written.
    :raises MissingExtraError: For `.png`, when matplotlib is not installed.
    """
    check(path)
    kind = path.suffix.lower()
    content = png(scene) if kind == ".png" else (page(scene) if kind == ".html" else svg(scene)).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        detail = f"{path} cannot be written: {error.strerror}"
        raise HeadraceError(detail, "correct the path") from None


def check(path: Path) -> None:
    """Check that a picture can be written under that name.

    :raises HeadraceError: When it ends in something that is not known, or its folder is not there or not writable.
    """
    if path.suffix.lower() not in {".html", ".svg", ".png"}:
        detail = f"{path} does not say what kind of picture it is to be"
        raise HeadraceError(detail, "let its name end in .html, .svg or .png")
    folder = path.absolute().parent
    if not folder.is_dir():
        detail = f"{path} cannot be written: there is no folder {folder}"
        raise HeadraceError(detail, "make it, or correct the path")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        detail = f"{path} cannot be written: it is a folder" if path.is_dir() else f"{path} cannot be written"
        raise HeadraceError(detail, "correct the path, or who may write there")
