"""Keys of applications: found by whoever has them whole, good for what they were made for, and never kept."""

from __future__ import annotations

import json
import multiprocessing
import stat
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import HeadraceError, RejectedError, SettingsError, StoreError
from serving.access.caller import SCOPES
from serving.access.keys import Keys, new_key, scopes_of
from serving.errors import NotFoundError

NOW = 1_700_000_000_000
DAY = 86_400_000
PAGE_KEY = "a-page-key-of-more-than-thirty-two-characters"


class Time:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


def test_a_key_is_found_with_what_it_was_made_for(path: Path) -> None:
    keys = Keys(path, clock=lambda: NOW)
    key = keys.create("shop", ["search", "context"], ["staff", "public", "staff"])
    found = keys.find(key)
    assert found is not None
    assert (found.name, found.scopes, found.audiences) == ("shop", ("context", "search"), ("public", "staff"))
    assert (found.created_at, found.expires_at) == (NOW, None)


def test_the_file_holds_the_hash_and_not_the_key(path: Path) -> None:
    key = Keys(path).create("shop", ["context"])
    text = path.read_text()
    assert key not in text
    assert key.rpartition("_")[2] not in text
    assert json.loads(text)["keys"][0]["hash"] == sha256(key.encode()).hexdigest()


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    keys = Keys(path)
    for name in ("shop", "desk"):
        keys.create(name, ["context"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(one.name for one in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_key_has_256_random_bits_and_says_whose_they_are() -> None:
    largest, least = new_key(lambda n: b"\xff" * n), new_key(lambda n: b"\0" * n)
    assert largest.startswith("hr_77777777_")
    assert least == "hr_aaaaaaaa_" + "0" * 43
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    secret = largest.removeprefix("hr_77777777_")
    assert sum(digits.index(digit) * 62**place for place, digit in enumerate(secret)) == 2**256 - 1
    assert len({new_key() for _ in range(1000)}) == 1000


@given(data=st.data())
def test_a_key_that_differs_in_anything_is_not_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    keys = Keys(tmp_path_factory.mktemp("keys") / "keys.json", PAGE_KEY)
    key = data.draw(st.sampled_from([keys.create("shop", ["context"]), PAGE_KEY]))
    at = data.draw(st.integers(0, len(key)))
    wrong = data.draw(
        st.sampled_from([key[:at] + key[at + 1 :], key[:at] + "x" + key[at:], key.swapcase(), key[:at], key + key])
        | st.characters().map(lambda letter: key[:at] + letter + key[at + 1 :])
        | st.text(max_size=600)
    )
    assert (keys.find(wrong) is None) == (wrong != key)


def test_another_process_sees_a_key_that_is_made_and_one_that_is_removed(path: Path) -> None:
    server, command = Keys(path), Keys(path)
    assert server.find(new_key()) is None
    shop, desk = command.create("shop", ["context"]), command.create("desk", ["context"])
    assert server.find(shop) is not None
    command.remove("shop")
    assert server.find(shop) is None
    assert server.find(desk) is not None
    path.unlink()
    assert server.find(desk) is None


def test_a_key_is_good_until_it_expires_and_listed_after_that(path: Path) -> None:
    clock = Time()
    keys = Keys(path, clock=clock)
    key = keys.create("shop", ["context"], days=1.5)
    clock.now = NOW + DAY * 3 // 2 - 1
    assert keys.find(key) is not None
    clock.now += 1
    assert keys.find(key) is None
    assert [(one.name, one.expired(clock.now)) for one in keys.list()] == [("shop", True)]


def test_a_removed_name_can_be_used_again_and_the_old_key_stays_ended(path: Path) -> None:
    keys = Keys(path)
    old = keys.create("shop", ["context"])
    keys.remove("shop")
    new = keys.create("shop", ["search"])
    assert keys.find(old) is None
    assert keys.find(new) is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("shop", ["context"], [], None), "there is a key named 'shop'"),
        (("page", ["context"], [], None), "the web page's own key"),
        (("Shop", ["context"], [], None), "'Shop' can be no name"),
        (("", ["context"], [], None), "'' can be no name"),
        (("command line", ["context"], [], None), "can be no name"),
        (("a" * 10_000, ["context"], [], None), "can be no name"),
        (("desk", [], [], None), "good for nothing"),
        (("desk", ["context"], [""], None), "'' can be no audience label"),
        (("desk", ["context"], [" staff"], None), "' staff' can be no audience label"),
        (("desk", ["context"], ["a,b"], None), "'a,b' can be no audience label"),
        (("desk", ["context"], ["a\nb"], None), "can be no audience label"),
        (("desk", ["context"], ["\ud800"], None), "can be no audience label"),
        (("desk", ["context"], ["x" * 101], None), "can be no audience label"),
        (("desk", ["context"], [f"label{n}" for n in range(100)], None), "101 audience labels are too many"),
        (("desk", ["context"], [], 0.0), "0 days"),
        (("desk", ["context"], [], float("nan")), "nan days"),
        (("desk", ["context"], [], float("inf")), "inf days"),
        (("desk", ["context"], [], 1e9), "1e+09 days"),
    ],
)
def test_what_can_be_no_key_is_refused_and_nothing_is_changed(
    path: Path, given: tuple[str, list[Any], list[str], float | None], said: str
) -> None:
    name, scopes, audiences, days = given
    keys = Keys(path)
    keys.create("shop", ["context"])
    before = path.read_bytes()
    with pytest.raises(RejectedError) as refused:
        keys.create(name, scopes, audiences, days=days)
    assert said in refused.value.detail
    assert refused.value.hint
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    assert path.read_bytes() == before


def test_removing_what_is_not_there_names_what_may_be_meant_and_leaves_no_trace(path: Path) -> None:
    with pytest.raises(NotFoundError, match="'shop'"):
        Keys(path).remove("shop")
    assert not path.parent.exists()
    Keys(path).create("shop", ["context"])
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        Keys(path).remove("shpo")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"keys": [', "cannot be read"),
        (b'{"keys": [], "version": 2}', "layout 2"),
        (b"[]", "cannot be read"),
    ],
)
def test_a_broken_file_lets_nobody_in_and_says_what_to_do(path: Path, content: bytes, said: str) -> None:
    keys = Keys(path, PAGE_KEY)
    key = keys.create("shop", ["context"])
    path.write_bytes(content)
    for ask in (
        lambda: keys.find(key),
        lambda: keys.create("desk", ["context"]),
        keys.list,
        lambda: keys.remove("shop"),
    ):
        with pytest.raises(StoreError) as refused:
            ask()
        assert said in refused.value.detail
        assert refused.value.hint
    assert path.read_bytes() == content
    assert keys.find(PAGE_KEY) is not None


@pytest.mark.parametrize("change", [{"scopes": ["everything"]}, {"hash": "ä" * 64}, {"hash": ""}, {"name": None}])
def test_a_key_that_was_edited_into_none_is_refused(path: Path, change: dict[str, Any]) -> None:
    keys = Keys(path)
    key = keys.create("shop", ["context"])
    content = json.loads(path.read_text())
    content["keys"][0].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="cannot be read"):
        keys.find(key)


def test_a_file_that_names_a_key_twice_is_refused(path: Path) -> None:
    keys = Keys(path)
    keys.create("shop", ["context"])
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "keys": content["keys"] * 2}))
    with pytest.raises(StoreError, match="names a key twice"):
        keys.list()


def test_the_pages_key_may_do_everything_and_is_in_no_file(path: Path) -> None:
    keys = Keys(path, PAGE_KEY, page_audiences=["staff"])
    found = keys.find(PAGE_KEY)
    assert found is not None
    assert (found.name, set(found.scopes), found.audiences) == ("page", set(SCOPES), ("public", "staff"))
    assert keys.list() == []
    assert not path.exists()
    assert Keys(path).find(PAGE_KEY) is None


@pytest.mark.parametrize(
    "page_key", ["short", "with a blank in it, but long enough", "é" * 40, "x" * 513, "x" * 40 + "\n"]
)
def test_a_pages_key_that_keeps_no_secret_stops_the_start(path: Path, page_key: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Keys(path, page_key)
    assert page_key not in str(refused.value)


def test_no_key_is_anything_like_a_pages_key_that_was_not_given(path: Path) -> None:
    assert Keys(path).find("") is None


def test_scopes_are_read_with_all_meaning_all_but_tokens() -> None:
    assert scopes_of(["search", "search", "context"]) == ["search", "context"]
    assert set(scopes_of(["all"])) == set(SCOPES) - {"tokens"}
    assert set(scopes_of(["all", "tokens"])) == set(SCOPES)
    with pytest.raises(RejectedError, match="did you mean 'search'"):
        scopes_of(["serch"])


def _create(path: Path, names: Sequence[str], keys: Any) -> None:
    made = Keys(path)
    for name in names:
        keys.put((name, made.create(name, ["context"])))


def test_keys_that_two_processes_make_at_once_are_all_there(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    made = spawn.Queue()
    names = [[f"{process}{number}" for number in range(20)] for process in "ab"]
    writers = [spawn.Process(target=_create, args=(path, some, made)) for some in names]
    for writer in writers:
        writer.start()
    by_name = dict(made.get(timeout=60) for _ in range(40))
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    keys = Keys(path)
    found = {name: keys.find(key) for name, key in by_name.items()}
    assert {name: None if key is None else key.name for name, key in found.items()} == {name: name for name in by_name}
    assert len(keys.list()) == 40


def test_two_keys_never_share_the_letters_by_which_they_are_found(path: Path) -> None:
    drawn = iter([b"same.", b"a" * 32, b"same.", b"b" * 32, b"other", b"c" * 32])
    keys = Keys(path, randomness=lambda _: next(drawn))
    first, second = keys.create("shop", ["context"]), keys.create("desk", ["context"])
    assert first.split("_")[1] != second.split("_")[1]


def test_an_error_of_the_disk_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder is to be")
    with pytest.raises(HeadraceError, match="cannot be written"):
        Keys(tmp_path / "data" / "keys.json").create("shop", ["context"])
