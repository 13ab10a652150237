"""Any journal against the simplest one, over random stories of writes, epochs, crashes and roll-backs."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from events.errors import StoreError
from events.log import Mark
from operators.identity.journal import Journal
from stores.journal.sqlite import SqliteJournal, journal_applied
from tests.contract.journal_model import JournalModel, Past
from tests.operators.identity.memory_journal import MemoryJournal

NAMES = st.sampled_from(["a", "b", 'crm/t/{"id":"ä\x00"}', ""])
VALUES = st.sampled_from([None, b"1", b"2", b"", b"\0" * 5000])
WRITES = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)


class JournalStory(RuleBasedStateMachine):
    """Whatever happens, a journal holds what its model holds."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: Journal = self.opened()
        self.identity = self.journal.identity
        self.offset = 0

    def opened(self) -> Journal:
        raise NotImplementedError

    def applied(self) -> list[int]:
        """Return up to where the journal says that the one source is applied, nothing if nowhere."""
        return [one.offset for one in self.journal.applied()]

    @initialize()
    def begin(self) -> None:
        # What the first number is, is the journal's own matter.
        self.model = JournalModel([Past(self.journal.close_epoch([]), 0, {}, 0)])

    @rule(entries=st.one_of(WRITES, st.just({})))
    def put(self, entries: dict[str, bytes | None]) -> None:
        self.journal.put(entries)
        self.model.put(entries)

    @rule(writes=st.lists(WRITES, min_size=1, max_size=3), more=st.integers(0, 2))
    def go_through_an_epoch(self, writes: list[dict[str, bytes | None]], more: int) -> None:
        for entries in writes:
            self.put(entries)
        self.close_epoch(more)

    @rule(more=st.integers(0, 2))
    def close_epoch(self, more: int) -> None:
        self.offset += more
        mark = Mark("customers", "0", self.offset, None, read_at=5, caught_up=False)
        sequence = self.journal.close_epoch([mark] if self.offset else [])
        assert sequence >= self.model.past[-1].sequence
        self.model.close_epoch(sequence, self.offset)

    @precondition(lambda self: len(self.model.past) > 1)
    @rule(draw=st.data())
    def roll_back(self, draw: st.DataObject) -> None:
        number = draw.draw(st.integers(0, len(self.model.past) - 1))
        there = self.model.past[number]
        found = self.journal.roll_back(there.sequence)
        possible, due = self.model.roll_back(number)
        assert due <= found <= possible
        self.model.started(found)
        self.offset = there.offset

    @rule()
    def start_without_knowing_where_it_was(self) -> None:
        found = self.journal.roll_back(None)
        possible, due = self.model.stay()
        assert due <= found | set(self.model.entries)
        assert found <= possible
        self.model.started(found)

    @rule()
    def told(self) -> None:
        self.journal.told()
        self.model.telling = True

    @rule()
    def roll_back_to_what_never_was(self) -> None:
        with pytest.raises(StoreError, match="recovery folder"):
            self.journal.roll_back(self.model.past[-1].sequence + 10_000)

    @rule(names=st.lists(NAMES, max_size=3))
    def forget(self, names: list[str]) -> None:
        now, ever = self.model.forget(names)
        assert now <= self.journal.forget(names) <= ever

    @rule()
    def open_again(self) -> None:
        self.journal.close()
        self.journal = self.opened()
        # Whoever opens it goes back first, be it to where it is.
        self.start_without_knowing_where_it_was()

    @invariant()
    def holds_the_same(self) -> None:
        found = list(self.journal.load())
        assert len(found) == len(self.model.entries)
        assert dict(found) == self.model.entries
        for name in ("a", "b", ""):
            assert self.journal.get(name) == self.model.entries.get(name)
        assert self.journal.identity == self.identity
        assert self.applied() == ([self.model.past[-1].offset] if self.model.past[-1].offset else [])

    def teardown(self) -> None:
        self.journal.close()
        self.journal.close()


class SqliteStory(JournalStory):
    """The journal in a file, which other processes look at."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        self._path = Path(self._folder.name) / "default.sqlite3"
        self._now = itertools.count(1_000)
        super().__init__()

    def opened(self) -> SqliteJournal:
        return SqliteJournal(self._path, lambda: next(self._now))

    def applied(self) -> list[int]:
        assert isinstance(self.journal, SqliteJournal)
        assert journal_applied(self._path) == self.journal.applied()
        return super().applied()

    def teardown(self) -> None:
        super().teardown()
        self._folder.cleanup()


class MemoryStory(JournalStory):
    """The journal that the tests of resolving use."""

    def opened(self) -> MemoryJournal:
        if not hasattr(self, "journal"):
            return MemoryJournal()
        assert isinstance(self.journal, MemoryJournal)
        return self.journal


@pytest.mark.parametrize("story", [SqliteStory, MemoryStory])
def test_a_journal_holds_what_the_simplest_one_would(story: type[JournalStory]) -> None:
    run_state_machine_as_test(story, settings=settings(max_examples=100, stateful_step_count=30))
