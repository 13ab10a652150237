"""The recorded travel company in real stores: what the flows make of the fixtures, and assemblers over it."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from bytewax.testing import run_main

from dataflows import knowledge, lake, profiles, tables
from events.clock import Clock
from events.context import Context
from events.profiles import Profile
from serving.access.caller import Caller, local
from serving.access.rows import RowGate
from serving.context.assemble import Assembler
from serving.context.request import ContextRequest
from serving.context.rows import RowFinder
from serving.knowledge import Knowledge
from serving.profiles import Profiles
from serving.tables import LiveTables
from stores.contexts.sqlite import SqliteContexts
from stores.profiles.choose import open_profile_reader
from stores.rows.choose import open_row_reader
from stores.settings import Settings, load

STREAMS = Path(__file__).parents[3] / "fixtures" / "streams"
FLOWS: tuple[Callable[[Settings], Any], ...] = (knowledge.build, tables.build, profiles.build, lake.build)


class Company(msgspec.Struct, frozen=True):
    """Stores in a folder.

    :arg read_at: When the flows had read everything (ms since epoch).
    """

    data: Path
    read_at: int
    config: Path = STREAMS / "headrace.toml"
    log: Path = STREAMS

    def settings(self, **overrides: Any) -> Settings:
        """Return the fixtures' settings over these stores."""
        plain = {"data_dir": self.data, "log": {"dir": self.log}, "embedding": {"backend": "hashing"}, **overrides}
        with mock.patch.dict(os.environ, {"HEADRACE_CONFIG": str(self.config)}):
            return load(**plain)

    def copied(self, folder: Path) -> Company:
        """Return the same in another folder, where it may be changed."""
        shutil.copytree(self.data, folder, dirs_exist_ok=True)
        return Company(folder, self.read_at)

    def assembler(self, clock: Clock | None = None, **overrides: Any) -> Assembler:
        """Return an assembler that thinks it is a second after everything was read; its ids are numbers."""
        settings, clock = self.settings(**overrides), clock or (lambda: self.read_at + 1000)
        persons = Profiles.of(settings, clock) if settings.profiles.tables else None
        return Assembler(
            settings, Knowledge.of(settings), LiveTables.of(settings, clock), persons,
            SqliteContexts(settings.contexts_path), RowFinder(settings, RowGate(settings)), clock,
            map(str, itertools.count(1)).__next__,
        )  # fmt: skip

    def ask(self, question: str, caller: Caller | None = None, **fields: Any) -> Context:
        """Return the context of a question."""
        return self.assembler().assemble(caller or local(), ContextRequest(question=question, **fields))

    def person(self, wanted: Callable[[Profile], bool]) -> Profile:
        """Return the first person that is wanted."""
        reader = open_profile_reader(self.settings())
        try:
            return next(profile for profile in reader.persons("", 10_000) if wanted(profile))
        finally:
            reader.close()


def replayed(folder: Path) -> Company:
    """Run the flows over the fixtures."""
    company = Company(folder, 0)
    for build in FLOWS:
        run_main(build(company.settings(mode="replay")))
    readers = open_row_reader(company.settings()), open_profile_reader(company.settings())
    marks = [mark for reader in readers for mark in reader.applied()]
    for reader in readers:
        reader.close()
    marks += Knowledge.of(company.settings()).reader.applied()
    return Company(folder, max(mark.read_at for mark in marks))
