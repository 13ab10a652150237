"""Pictures of persons: readable at any size, complete in themselves, and no place for foreign markup."""

from __future__ import annotations

import random
import re
import struct
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from events.errors import HeadraceError, MissingExtraError
from events.persons import Member, Shared
from serving.draw_person.compose import RECORDS, WIDTH, scene_of
from serving.draw_person.png import png
from serving.draw_person.save import check, picture, save
from serving.draw_person.scene import Scene, shortened, text_width
from serving.draw_person.svg import page, svg
from serving.lookups import anything
from serving.person_graph import graph_of, path, record
from serving.profiles import Profiles
from tests.serving.persons_sample import ANNA, configured, fill, opened

TYPES = ("loyalty", "email", "phone")
SVG = "{http://www.w3.org/2000/svg}"


def name_of(key: str) -> tuple[str, str, str]:
    source, table, number = key.split("/", 2)
    return table, number, source


def parsed(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)  # noqa: S314  # drawn a moment ago, here


def scene(records: int, seed: int = 1) -> Scene:
    """Return the picture of a person of so many records, with links of each kind."""
    draw = random.Random(seed)
    members = []
    for number in range(records):
        carried = {f"email:{draw.choice('abcdefgh') * 5}{draw.randrange(1 + records // 4)}@posteo.example"}
        if draw.random() < 0.5:
            carried.add(f"phone:+49301{draw.randrange(1 + records // 3):07}")
        if draw.random() < 0.4:
            carried.add(f"loyalty:HR{draw.randrange(1 + records // 2):06}")
        key = f"{draw.choice(['crm', 'shop'])}/{draw.choice(['customers', 'users'])}/{number}"
        members.append(Member(key, "r", "p", tuple(sorted(carried)), number, ("phone",)))
    first = members[0].identifiers[0]
    shared = {("r", first): Shared(first, "r", 4213, 10)} if records > 4 else {}
    marked = path(graph_of(members, shared), record(members[0].record), record(members[-1].record), TYPES)
    return scene_of("A person", members, shared, TYPES, name_of, marked=marked)


@pytest.mark.parametrize("records", [1, 2, 3, 8, 40, RECORDS])
def test_no_box_touches_another_and_all_of_it_fits_the_width(records: int) -> None:
    found = scene(records)
    assert found.width <= WIDTH + 0.01
    boxes = found.boxes
    assert sum(box.kind == "record" for box in boxes) == records
    for number, one in enumerate(boxes):
        assert one.x >= 0
        assert one.y >= 0
        assert one.x + one.width <= found.width
        assert one.y + one.height <= found.legend[0].y
        for other in boxes[number + 1 :]:
            beside = one.x + one.width < other.x or other.x + other.width < one.x
            above = one.y + one.height < other.y or other.y + other.height < one.y
            assert beside or above, (one, other)


def test_no_text_is_wider_than_its_box_in_the_face_that_draws_it() -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    found = scene(40)
    for box in found.boxes:
        for text in box.texts:
            face = FontProperties(family="DejaVu Sans", weight="bold" if text.strong else "normal")
            right = TextPath((text.x, 0), text.text, size=text.size, prop=face).get_extents().x1
            assert right <= box.x + box.width, text


def test_a_picture_is_a_function_of_what_it_shows() -> None:
    assert svg(scene(12)) == svg(scene(12))


def test_more_records_than_can_be_read_are_said_but_not_drawn() -> None:
    found = scene(RECORDS + 30)
    assert found.subtitle.text == f"{RECORDS + 30} records, of which {RECORDS} are drawn"
    assert sum(box.kind == "record" for box in found.boxes) == RECORDS


def test_a_value_is_never_markup_and_every_box_has_a_title() -> None:
    evil = "email:<script>alert(1)</script>&\"'\x1b]"
    members = [Member(f"crm/<b>/{number}", "r", "p", (evil,), number) for number in range(2)]
    drawn = page(scene_of("<i>", members, {}, TYPES, name_of))
    assert "<script>" not in drawn
    assert "<i>" not in drawn
    assert "\x1b" not in drawn
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org/2000/svg)", drawn)
    root = parsed(svg(scene_of("<i>", members, {}, TYPES, name_of)))
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert len(titles) == 3
    assert any("<script>alert(1)</script>" in title for title in titles)
    assert "prefers-color-scheme: dark" in drawn


def test_links_that_are_held_back_are_dashed_and_over_shared_identifiers_grey() -> None:
    root = parsed(svg(scene(8)))
    kinds = {kind for line in root.iter(f"{SVG}line") for kind in line.attrib["class"].split()}
    assert {"held", "shared"} <= kinds
    legend = [text.text for text in root.iter(f"{SVG}text")]
    assert {"held back", "over its limit"} <= set(legend)
    assert any("4,213 records" in (title.text or "") for title in root.iter(f"{SVG}title"))


def test_a_long_text_is_shortened_in_its_middle_to_the_room_there_is() -> None:
    long = "anna.maria.magdalena.kowalska-wisniewska@department.posteo.example"
    short = shortened(long, 13.0, room=150.0)
    assert text_width(short, 13.0) <= 150.0
    start, end = short.split("…")
    assert long.startswith(start)
    assert long.endswith(end)
    assert shortened("short", 13.0) == "short"


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    settings = configured(tmp_path_factory.mktemp("persons"))
    fill(settings)
    return opened(settings)


def test_each_kind_of_file_is_written_as_its_name_says(profiles: Profiles, tmp_path: Path) -> None:
    settings = profiles.settings.profiles
    found = profiles.explain(anything("customers/1", settings), anything("customers/2", settings))
    drawn = picture(profiles, [ANNA], ANNA, found.nodes)
    assert sum(box.marked for box in drawn.boxes) == 5
    for kind in ("html", "svg", "png"):
        save(drawn, tmp_path / f"out.{kind}")
    assert (tmp_path / "out.html").read_text().startswith("<!doctype html>")
    assert parsed((tmp_path / "out.svg").read_text()).tag == f"{SVG}svg"
    image = (tmp_path / "out.png").read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", image[16:24])
    assert abs(width - 2 * drawn.width) <= 2
    assert abs(height - 2 * drawn.height) <= 2


def test_two_persons_that_share_nothing_are_drawn_beside_each_other(profiles: Profiles) -> None:
    settings = profiles.settings.profiles
    found = profiles.explain(anything("customers/1", settings), anything("users/8", settings))
    drawn = picture(profiles, found.persons, "two", found.nodes)
    assert sum(box.kind == "record" for box in drawn.boxes) == 4


def test_a_file_that_cannot_be_written_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match=r"let its name end in \.html, \.svg or \.png"):
        save(scene(2), tmp_path / "out.pdf")
    with pytest.raises(HeadraceError, match="cannot be written"):
        save(scene(2), tmp_path / "absent" / "out.svg")


def test_whether_a_file_can_be_written_is_known_before_anything_is_drawn(tmp_path: Path) -> None:
    check(tmp_path / "out.svg")
    with pytest.raises(HeadraceError, match=r"there is no folder .*absent \(make it"):
        check(tmp_path / "absent" / "out.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(HeadraceError, match="it is a folder"):
        check(tmp_path / "folder.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]


def test_without_the_extra_a_png_names_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"headrace\[draw\]"):
        png(scene(2))


def test_letters_that_the_face_lacks_and_signs_of_formulas_are_drawn_without_complaint() -> None:
    members = [Member("crm/顧客/$x^2$", "r", "p", ("email:日本@例え.jp",), 0)]
    assert png(scene_of("$\\frac{1}$ 顧客", members, {}, TYPES, name_of))
