"""The lake against an independent computation: any order and batches, broken off and opened again anywhere."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from events.feedback import Comment, Rating, Said, ShownContext, ShownItem, Turn, stands_over
from events.log import Mark
from stores.lake.intake import LakeIntake
from stores.lake.table import LakeTable
from stores.lake.working import Conversations, Place
from tests.dataflows.lake_content import BEGIN, DAY, HOUR, OBJECTIVE, expected, rows_in

conversations = st.sampled_from(["a", "b", "ü/'\"", "d"])
times = st.builds(lambda day, step: BEGIN + day * DAY + step * HOUR, st.integers(0, 3), st.integers(0, 5))
ids = st.sampled_from(["1", "2"])
texts = st.sampled_from(["", "ja", "שלום 🙂"])
persons = st.sampled_from(["", "p1", "p2"])
items = st.builds(
    ShownItem, st.sampled_from(["docs", ""]), texts, as_of=st.none() | times, lag=st.sampled_from([None, 1.5, 1e9]),
    stale=st.booleans(),
)  # fmt: skip
turns = st.builds(
    Turn, conversations, ids, times, st.sampled_from(["user", "assistant"]), texts, person=persons, language=texts,
    cost=st.none() | st.floats(0, 1), tokens_in=st.none() | st.integers(0, 2**60), context=st.sampled_from(["", "1"]),
    consent=st.sampled_from([None, True, False]),
)  # fmt: skip
ratings = st.builds(
    Rating, conversations, ids, times, st.just("stars"), st.sampled_from([1.0, 3.0, 5.0]), person=persons
)
comments = st.builds(Comment, conversations, ids, times, texts, person=persons)
contexts = st.builds(ShownContext, conversations, ids, times, st.lists(items, max_size=2).map(tuple))
said = st.one_of(turns, turns, ratings, comments, contexts)


class Broken(Exception):
    """The process would have ended here."""


class BreakingTable(LakeTable):
    """Breaks off before a commit."""

    @override
    def merge(self, rows: Sequence[dict[str, object]], before: object, offsets: Mapping[str, int]) -> None:
        raise Broken


class BreakingConversations(Conversations):
    """Breaks off between the lake's commit and the note of it."""

    @override
    def settle(self, places: Mapping[int, Place | None]) -> None:
        raise Broken


def opened(
    home: Path,
    conversations: type[Conversations] = Conversations,
    table: type[LakeTable] = LakeTable,
    *,
    keep: int = 1000 * DAY,
) -> LakeIntake:
    clock = iter(range(BEGIN, BEGIN * 2)).__next__
    return LakeIntake(
        conversations(home / "conversations.sqlite3", clock),
        table(home / "lake", 168),
        lambda source: OBJECTIVE,
        lambda: BEGIN,
        keep=keep,
        compact_every=3,
        retain=168 * HOUR,
    )


steps = st.lists(
    st.one_of(
        st.lists(said, min_size=1, max_size=6),
        st.sampled_from(["close", "close", "reopen", "kill", "break before", "break after"]),
    ),
    max_size=12,
)


@given(steps, st.sampled_from([1000 * DAY, DAY]))
@settings(max_examples=25)
def test_rows_are_those_of_the_set_of_events(steps: list[list[Said] | str], keep: int) -> None:
    # What is too old is expired only if it has a turn: of the others, the events are gone for good.
    if keep == DAY:
        first = [Turn(name, "0", BEGIN, "user", "hallo") for name in ("a", "b", "ü/'\"", "d")]
        steps = [list(first), *steps]
    everything: list[Said] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        intake = opened(home, keep=keep)
        epoch = 0
        for step in steps:
            if isinstance(step, list):
                intake.write(step)
                everything += step
            elif step == "close":
                epoch += 1
                intake.close_epoch([Mark("s", "0", epoch, BEGIN, BEGIN, caught_up=True)])
                assert rows_in(home / "lake") == expected(everything)
            elif step == "reopen":
                intake.close()
                intake = opened(home, keep=keep)
            else:
                intake._conversations.close()  # all that a process leaves behind which ends of a sudden
                if step == "break before":
                    _broken(home, everything, BreakingConversations, LakeTable, keep)
                elif step == "break after":
                    _broken(home, everything, Conversations, BreakingTable, keep)
                intake = opened(home, keep=keep)
        intake.write(everything[::-1])
        intake.close()
        assert rows_in(home / "lake") == expected(everything)


def _broken(
    home: Path, everything: list[Said], conversations: type[Conversations], table: type[LakeTable], keep: int
) -> None:
    """Open and flush, which breaks off on the way if there is anything to flush."""
    try:
        intake = opened(home, conversations, table, keep=keep)
    except Broken:
        return
    late = Turn("d", "late", BEGIN + len(everything), "user", "spät")
    intake.write([late])
    everything.append(late)
    try:
        intake.flush()
    except Broken:
        intake._conversations.close()
    else:
        message = "nothing was flushed"
        raise AssertionError(message)


@given(st.lists(said, min_size=2, max_size=2))
@settings(max_examples=60)
def test_the_file_keeps_the_event_that_stands_over_the_other(pair: list[Said]) -> None:
    import msgspec

    one, other = pair
    if type(one) is not type(other):
        return
    other = msgspec.structs.replace(other, conversation=one.conversation, id=one.id)
    winner = one if stands_over(one, other) else other
    with tempfile.TemporaryDirectory() as folder:
        store = Conversations(Path(folder, "c.sqlite3"), lambda: 0)
        for event in (one, other, one):
            with store.transaction():
                store.put([event], store.meet([event.conversation]))
        [(_, kept)] = store.events(store.dirty(10)).items()
        store.close()
    assert kept == [winner]
