"""Answers that are given again for a moment."""

from __future__ import annotations

import threading

import pytest

from serving.brief import Brief


class Source:
    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> int:
        self.reads += 1
        return self.reads


def test_an_answer_is_given_again_for_a_moment_only() -> None:
    now = [0.0]
    brief, source = Brief[int](1.0, lambda: now[0]), Source()
    assert [brief.get("a", source.read), brief.get("a", source.read)] == [1, 1]
    assert brief.get("b", source.read) == 2
    now[0] = 1.0
    assert brief.get("a", source.read) == 3


def test_what_cannot_be_read_is_not_remembered() -> None:
    brief, source = Brief[int](1.0, lambda: 0.0), Source()

    def fails() -> int:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # raised above
        brief.get("a", fails)
    assert brief.get("a", source.read) == 1


def test_of_many_who_ask_at_once_one_reads() -> None:
    brief, source = Brief[int](60.0, lambda: 0.0), Source()
    together = threading.Barrier(8)
    seen: list[int] = []

    def ask() -> None:
        together.wait()
        seen.append(brief.get("a", source.read))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8
    assert source.reads == 1


def test_as_many_keys_as_anybody_asks_for_do_not_pile_up() -> None:
    brief, source = Brief[int](60.0, lambda: 0.0), Source()
    for key in range(2_000):
        brief.get(key, source.read)
    assert len(brief._known) <= 300
