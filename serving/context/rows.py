"""Rows of live tables as pieces of a context: what they say, up to which change, and what they said until lately.

A row past its table's time-to-live is told as unknown, and one whose delete waits for a decision as deleted: in its
warning, which goes wherever the row goes, however much of its text does. No column that is hidden is shown, nor told
of, nor part of a row's name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from events.changes import Row, position_text
from events.context import Superseded
from events.errors import StoreError
from events.profiles import Profile
from serving.access.caller import Caller
from serving.access.rows import RowGate
from serving.context import wording
from serving.context.candidate import Candidate
from serving.context.checks import PLACEHOLDER, check
from serving.context.entities import Column, Entities, Names
from serving.context.gazetteer import MOST_VALUES, Gazetteer
from serving.context.lookups import Asker, Hit, Lookups, Question, key_columns
from serving.lookups import short_key
from stores.profiles.base import ProfileReader
from stores.rows.base import HELD, Former, RowId, RowReader, StoredRow
from stores.rows.choose import open_row_reader
from stores.rows.columns import COLUMNS, kinds_of, seen_of
from stores.settings import Settings

_MINUTE = 60_000
_STEP = 1e-5
"""By so much less useful is a row than the one before it: no other row lies between."""
_MOST_LASTING = 2_000
"""Characters of the lines on what a row said until lately; further changes are told as data only."""
_LONGEST_FORMER = 200


class RowFinder:
    """Finds the rows that belong to a question. Threads may share it.

    :arg settings: Entities, look-ups and tables.
    :arg gate: Who may see which tables and rows.
    :raises SettingsError: When a look-up or an entity names what there is not.
    """

    def __init__(self, settings: Settings, gate: RowGate) -> None:
        serving = settings.serving
        used = {of for lookup in serving.lookups for of in lookup.where.values()}
        self._settings = settings
        self._gate = gate
        self._entities = Entities(entity for entity in serving.entities if entity.name in used)
        columns = self._entities.columns
        self._names_of_all = Names(
            (column for column in columns if not gate.is_owned(column[0])), lambda: open_row_reader(settings)
        )
        self._names_of_persons = tuple(column for column in columns if gate.is_owned(column[0]))
        self._lookups = Lookups(settings, gate)
        self._of_patterns = {entity.name for entity in serving.entities if entity.pattern}
        self._kinds_of_fact: dict[bytes, dict[str, str]] = {}
        check(settings, self._kinds_now())

    def find(
        self,
        question: str,
        *,
        tables: RowReader,
        profile: Profile | None,
        caller: Caller,
        only: tuple[str, ...] | None,
        now: int,
        profiles: ProfileReader | None = None,
        earlier: Sequence[str] = (),
    ) -> tuple[list[Candidate], list[str]]:
        """Return the rows that belong to a question, each once, and notes on what could not be asked.

        :arg tables: Of one cut.
        :arg profile: Of the person that the caller asks for; None for nobody.
        :arg profiles: Of the cut that the profile is from; None if it is of none.
        :arg only: Live tables whose rows are wanted; None: all.
        :arg now: The present (ms since epoch).
        :arg earlier: What was asked before in the conversation, the last first: a question that names nothing goes on
            about what one of these has named.
        """
        asker = Asker(caller, profile, profiles)
        names, cut_short = self._known_names(tables, asker, now)
        kinds: dict[str, dict[str, str]] = {}

        def known_kinds() -> dict[str, dict[str, str]]:
            kinds.update(kinds or self._kinds(tables))
            return kinds

        findings = list(self._entities.find(question, names, now))
        for text in () if any(finding.way != "date" for finding in findings) else earlier:
            if meant := [finding for finding in self._entities.find(text, names, now) if finding.way != "date"]:
                findings += meant
                break
        hits, notes = self._lookups.ask(Question(findings, asker, only, now), tables, known_kinds)
        notes += [f"of {table}.{column} the first {MOST_VALUES:,} names are known only" for table, column in cut_short]
        best = _each_once(hits)
        former = self._former(best, tables, now)
        told = [
            self._told(hit, kinds.get(hit.lookup.table, {}), former.get((hit.lookup.table, hit.row.id), []))
            for hit in best
        ]
        return _named_apart(_ranked(told)), notes

    def _known_names(self, tables: RowReader, asker: Asker, now: int) -> tuple[dict[Column, Gazetteer], list[Column]]:
        """Return the names that whoever asks may know of, and the columns that have more than are known.

        What others' rows hold changes nothing in what is found: not even whether a word of the question is a name.
        """
        known, cut_short = self._names_of_all.known(tables, now)
        names = {column: found for column, found in known.items() if self._lookups.may_see(column[0], asker.caller)}
        for column in self._names_of_persons:
            if self._lookups.may_see(column[0], asker.caller):
                names[column] = Gazetteer(self._lookups.own_values(*column, asker, tables, now))
        return names, [column for column in cut_short if column in names]

    def _kinds(self, tables: RowReader) -> dict[str, dict[str, str]]:
        facts = tables.facts(COLUMNS)
        known = self._kinds_of_fact
        # Facts change seldom, and long ones take long to read.
        self._kinds_of_fact = read = {fact: known.get(fact) or kinds_of(seen_of(fact)) for fact in facts.values()}
        return {table: read[fact] for table, fact in facts.items()}

    def _kinds_now(self) -> dict[str, dict[str, str]]:
        """Return the columns as far as they are known before any question.

        While the store is behind, there may be more to come: then nothing is known of them, and neither is if it cannot
        be reached.
        """
        if not (self._settings.serving.lookups or self._settings.serving.tables):
            return {}
        try:
            reader = open_row_reader(self._settings)
            try:
                marks = reader.applied()
                return self._kinds(reader) if marks and all(mark.caught_up for mark in marks) else {}
            finally:
                reader.close()
        except StoreError:
            return {}

    def _former(self, hits: Sequence[Hit], tables: RowReader, now: int) -> dict[tuple[str, RowId], list[Former]]:
        span = round(self._settings.serving.context.superseded_minutes * _MINUTE)
        ids: dict[str, list[RowId]] = {}
        for hit in hits:
            if span and hit.row.image is not None:
                ids.setdefault(hit.lookup.table, []).append(hit.row.id)
        return {
            (table, id_): formers
            for table, these in ids.items()
            for id_, formers in tables.former(table, these, now - span).items()
        }

    def _told(self, hit: Hit, kinds: Mapping[str, str], former: Sequence[Former]) -> Candidate:
        lookup, row = hit.lookup, hit.row
        image = self._gate.strip(lookup.table, hit.image)
        unknown = self._gate.strip(lookup.table, {column: None for column in row.gaps if column not in hit.image})
        expired = row.image is None
        texts = {column: wording.plain(value) for column, value in image.items()}
        texts |= dict.fromkeys(() if expired else unknown, wording.UNKNOWN)
        names = lookup.columns or _in_order(texts, key_columns(row), kinds)
        shown = {column: texts[column] for column in names if column in texts}
        text = wording.columns_text(shown) or (wording.UNKNOWN if expired else "")
        superseded: tuple[Superseded, ...] = ()
        if not expired:
            told = set(shown)
            if lookup.text:
                text = PLACEHOLDER.sub(lambda found: texts.get(found[1], wording.UNKNOWN), lookup.text)
                told = {*PLACEHOLDER.findall(lookup.text), *lookup.columns}
            superseded = _superseded(
                {column: image[column] for column in names if column in image and column in told}, former
            )
        place = f"{lookup.table}/{self._short(lookup.table, row)}"
        return Candidate(
            kind="row",
            id=place,
            store="tables",
            source=row.source,
            place=place,
            title=self._title(hit, image),
            text=wording.cut(text, wording.LONGEST_TEXT - _MOST_LASTING),
            position=position_text(row.standing.position),
            as_of=row.as_of,
            since=row.as_of,
            applied_at=row.applied_at,
            score=hit.score,
            lasting=_lasting(superseded),
            warning=wording.warning(held=row.state == HELD, unknown_since=hit.ends if expired else None),
            data={column: wording.kept(image[column]) for column in names if column in image},
            superseded=tuple(
                Superseded(one.column, wording.kept(one.was), wording.kept(one.now), one.until) for one in superseded
            ),
        )

    def _title(self, hit: Hit, image: Row) -> str:
        """Return the table and what its row is called: by what a pattern has found it, else by its key."""
        table = hit.lookup.table
        for column, of in hit.lookup.where.items():
            if of in self._of_patterns and image.get(column) is not None:
                return wording.one_line(f"{table} {wording.plain(image[column])}")
        return f"{table} {self._short(table, hit.row)}"

    def _short(self, table: str, row: StoredRow) -> str:
        """Return the values of a row's key; something in their place if a column of it is hidden."""
        key = key_columns(row)
        if self._gate.strip(table, key) == key:
            return wording.one_line(short_key(row.key))
        return hashlib.blake2b(f"{row.source}\0{row.key}".encode(), digest_size=8).hexdigest()


def _in_order(columns: Iterable[str], key: Row, kinds: Mapping[str, str]) -> list[str]:
    """Sort columns, as each store has an order of its own: those of the key, the others as they have appeared."""
    first = {column: at for at, column in enumerate([*key, *(column for column in kinds if column not in key)])}
    return sorted(columns, key=lambda column: (first.get(column, len(first)), column))


def _superseded(shown: Mapping[str, Any], former: Sequence[Former]) -> tuple[Superseded, ...]:
    """Return, of the columns that are shown, the last value that was another, newest change first.

    A row that has come back with the values that it had before says nothing by that.
    """
    found: dict[str, Superseded] = {}
    for one in former:
        for column, was in one.was.items():
            if column in shown and column not in found and not wording.same(was, shown[column]):
                found[column] = Superseded(column, was, shown[column], one.until)
    order = {column: at for at, column in enumerate(shown)}
    return tuple(sorted(found.values(), key=lambda one: (-one.until, order[one.column])))


def _lasting(superseded: Iterable[Superseded]) -> str:
    """Return the newest changes in lines, as many as there is room for."""
    lines: list[str] = []
    left = _MOST_LASTING
    for line in map(_superseded_text, superseded):
        left -= len(line) + 1
        if left < 0:
            break
        lines.append(line)
    return "\n".join(lines)


def _superseded_text(one: Superseded) -> str:
    was, now = (wording.one_line(wording.plain(value), _LONGEST_FORMER) for value in (one.was, one.now))
    return f"{wording.one_line(one.column)} was {was} until {wording.minute(one.until)}, is {now}"


def _ranked(told: Sequence[Candidate]) -> list[Candidate]:
    """Let of equally useful rows those be more useful that their look-up has put first."""
    return [msgspec.structs.replace(one, score=max(0.0, one.score - _STEP * place)) for place, one in enumerate(told)]


def _each_once(hits: Iterable[Hit]) -> list[Hit]:
    """Return each row once, as the first look-up tells it, with the best score of all."""
    found: dict[tuple[str, RowId], Hit] = {}
    for hit in hits:
        name = hit.lookup.table, hit.row.id
        kept = found.get(name, hit)
        found[name] = kept._replace(score=max(kept.score, hit.score))
    return list(found.values())


def _named_apart(told: Sequence[Candidate]) -> list[Candidate]:
    """Name rows of two sources apart that have the same key in one live table."""
    count = Counter(one.id for one in told)
    return [
        one
        if count[one.id] == 1
        else msgspec.structs.replace(one, id=f"{one.source}/{one.id}", place=f"{one.source}/{one.id}")
        for one in told
    ]
