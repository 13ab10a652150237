"""The removal of a person from everywhere, in an order in which a crash at any moment leaves nothing half done.

First the fingerprints are written down, with what is to go: from then on nothing of it comes in, and the erasure can be
brought to its end by whoever comes next. Then the flows are told, and let go; only when each has done so, and could not
fall back behind it, the log is cleared. Last every database is written anew and all bytes are searched.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from events.clock import Clock, system_clock
from events.erasure import Erasure, ids_of
from events.errors import HeadraceError
from events.log import LogRecord, control_stream
from serving.conversations import Conversing, SpeechReading
from serving.holders import PLACES, SERVED, holders
from serving.others import Had, Others
from serving.owned import owned_records
from serving.redacting import Redactor
from serving.runs import runs
from serving.trails import PROFILES, TABLES, Belonging, ChangeReading, Trail, Trailing, every
from stores.compaction import ENGINE_PATIENCE, STORE_PATIENCE, Compaction, compact, compact_schema, databases
from stores.contexts.sqlite import SqliteContexts
from stores.dead_letters import DeadLetters
from stores.erasures import LOOK_SECONDS, Erasures, Found, Pending, Receipt, Removed
from stores.kpis.anew import write_anew
from stores.log.choose import open_log
from stores.profiles.choose import open_profile_reader, schema_of
from stores.profiles.record_keys import RecordKeys
from stores.rows.base import RowReader
from stores.rows.choose import open_row_reader
from stores.scan import Needles, Scanned, scan, scan_file
from stores.settings import FLOWS, Settings

POLL_SECONDS = 0.1
ROUNDS = 3
"""How often databases are compacted again because old state was still in them: it leaves with the epochs."""

LEAST_TELLING = 6
"""Shorter texts that name a person stand in others' contexts by chance."""

_EPOCHS = 2
_HELD = "events that stay until retention takes them"
_UNHURRIED = 86_400.0


class Forgetting:
    """Erases persons.

    :arg run_flow: Runs a flow that stands still to the end of the log.
    :arg progress: Told what is being done, a line each.
    :arg sleep: Waits so many seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        run_flow: Callable[[str], object],
        progress: Callable[[str], object] = lambda text: None,
        clock: Clock = system_clock,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._settings = settings
        self._run_flow = run_flow
        self._progress = progress
        self._clock = clock
        self._new_id = new_id
        self._sleep = sleep
        self._log = open_log(settings)
        self._profiles = open_profile_reader(settings)
        self._rows = open_row_reader(settings)
        readers: dict[str, RowReader] = {PROFILES: self._profiles, TABLES: self._rows}
        self._holders = holders(settings, readers)
        self._readers = {flow: reader for flow, reader in readers.items() if flow in self._holders}
        self._letters = DeadLetters(settings.dead_letters_path, clock)
        self.erasures = Erasures(settings.erasures_path)
        self._keys = RecordKeys(settings.profiles.tables)
        self._reading = ChangeReading(settings)
        self._belonging = Belonging(settings)
        self._speech = SpeechReading(settings)
        self._conversing = Conversing(settings, self._log, self._speech, progress)

    def follow(self, person: str, realm: str) -> Trail:
        """Return what a person has left, in the store and in the log."""
        trail = Trail(realm, person)
        for pending in self.erasures.pending():
            if pending.erasure.person == person and pending.erasure.realm == realm:
                # It was begun before: what it found then goes as well.
                trail.activities |= set(pending.erasure.records)
                trail.identifiers |= set(pending.erasure.identifiers)
                trail.telling |= set(pending.telling)
                trail.values |= set(pending.values)
                trail.conversations |= set(pending.erasure.conversations)
        Trailing(
            self._settings,
            self._profiles,
            self._log,
            reading=self._reading,
            belonging=self._belonging,
            progress=self._progress,
        ).follow(trail)
        trail.activities |= owned_records(self._settings, self._profiles, self._rows, person)
        speech = self._conversing.find(_erasure(trail))
        trail.conversations |= speech.ids
        trail.telling |= speech.names
        trail.values -= speech.names
        return trail

    def preview(self, trail: Trail) -> tuple[Removed, ...]:
        """Return what would be removed, counted without removing anything."""
        judge = self._redactor(_erasure(trail, at=self._clock()), trail.telling)
        found = [Removed("profile store", "rows", sum(map(self._has_row, sorted(trail.records))))]
        held = self._conversing.held(trail.conversations)
        found += [Removed(*PLACES[flow], count) for flow, count in held.items()]
        found.append(Removed(*SERVED, self._served(_erasure(trail))))
        for stream in self._log.streams():
            self._progress(f"counting {stream}")
            whole = part = 0
            for record in every(self._log, stream):
                left = judge(record)
                whole += left is None
                part += left is not None and left is not record
            found += [Removed(f"log/{stream}", "events", whole), Removed(f"log/{stream}", "names in events", part)]
        letters = [kept.letter for kept in self._letters.list(replayed=True, limit=1_000_000)]
        found.append(Removed("dead letters", "letters", sum(map(judge.concerned, letters))))
        return tuple(one for one in found if one.count)

    def _has_row(self, record: str) -> bool:
        found = self._keys.find(record)
        return found is not None and self._profiles.row(found[0].name, *found[1]) is not None

    def begin(self, trail: Trail) -> Pending:
        """Write down that a person is to go. From this moment on, nothing of it comes in."""
        before = [one for one in self.erasures.pending() if one.erasure.person == trail.person]
        erasure = _erasure(trail, before[0].erasure.id if before else self._new_id(), self._clock())
        stood = self._stood(trail)
        pending = Pending(erasure, tuple(sorted(trail.telling)), tuple(sorted(trail.values)), stood)
        self.erasures.begin(pending)
        return pending

    def finish(self, pending: Pending, seconds: float) -> Receipt:
        """Bring an erasure to its end; return its receipt, also kept in the file of erasures.

        :arg seconds: How long to wait for the flows, and for databases that are in use.
        :raises HeadraceError: When a flow has not let go by then; doing it again goes on from there.
        """
        deadline = time.monotonic() + seconds
        pending = self._completed(pending)
        erasure = pending.erasure
        self._tell_flows(erasure, deadline)
        # A flow that falls back to before the erasure must be told again: so it stays in the log until none can.
        self._await_epochs(deadline)
        judge = self._redactor(erasure, pending.telling)
        removed = [one for holder in self._holders.values() for one in holder.removed(erasure.id)]
        removed += self._redacted(judge, self._log.streams())
        removed.append(Removed("dead letters", "letters", self._letters.erase(judge.concerned)))
        # A context that was being assembled when the person went has been kept by now.
        removed.append(Removed(*SERVED, self._unserved(pending)))
        compactions = self._compacted(pending, deadline)
        removed = _summed([*removed, *self._removed_again(pending, judge)])
        scanned = self._scanned(pending)
        if self._served(erasure):
            # One write more has waited all that time.
            removed = _summed([*removed, *self._removed_again(pending, judge)])
            scanned = self._scanned(pending)
        hits = {text for found in scanned.hits.values() for text in found}
        had = self._others(judge).have(hits, pending.telling)
        found = tuple(
            Found(self._name(path), count)
            for path, texts in scanned.hits.items()
            if (count := _of_nobody_else(path, texts, had))
        )
        held = self._conversing.held(erasure.conversations)
        found += tuple(Found(PLACES[flow][0], count) for flow, count in held.items())
        if served := self._served(erasure):
            found += (Found(SERVED[0], served),)
        faults = [f"{self._name(one.path)} was not compacted: {one.fault}" for one in compactions if one.fault]
        unread = [f"{self._name(path)} could not be read" for path in scanned.unread]
        receipt = Receipt(
            id=erasure.id,
            begun_at=erasure.at,
            finished_at=self._clock(),
            removed=tuple(one for one in removed if one.count),
            stood=pending.stood,
            compacted=sum(not one.fault for one in compactions),
            values=len(Needles((*pending.telling, *pending.values)).texts),
            shared=len(had.shared),
            scanned_files=scanned.files,
            scanned_bytes=scanned.size,
            found=found,
            remarks=(*faults, *unread, *self._server_remarks(seconds)),
            unfinished=bool(faults or unread),
        )
        # What could not be compacted is tried again later, and must be known until then.
        self.erasures.finish(receipt, keep=receipt.unfinished)
        return receipt

    def _served(self, erasure: Erasure) -> int:
        """Count what was served to the person, and is kept."""
        if not self._settings.contexts_path.exists():
            return 0
        with closing(SqliteContexts(self._settings.contexts_path)) as contexts:
            return contexts.held(erasure.realm, ids_of(erasure), erasure.conversations)

    def _unserved(self, pending: Pending) -> int:
        """Let go of what was served to the person, and of contexts of others that name it."""
        if not self._settings.contexts_path.exists():
            return 0
        erasure = pending.erasure
        with closing(SqliteContexts(self._settings.contexts_path)) as contexts:
            naming = contexts.mentions([text for text in pending.telling if len(text) >= LEAST_TELLING])
            return contexts.erase(erasure.realm, ids_of(erasure), erasure.conversations, naming)

    def _removed_again(self, pending: Pending, judge: Redactor) -> list[Removed]:
        """Let go of what an answer under way has brought back: it had asked who is erased just before that changed.

        Who answers asks again before each write, so that it was one write, which waited for a file or a lock.
        """
        return [Removed(*SERVED, self._unserved(pending)), *self._redacted(judge, self._speech.streams)]

    def _redactor(self, erasure: Erasure, telling: Iterable[str]) -> Redactor:
        return Redactor(
            self._reading,
            self._belonging,
            records=erasure.records,
            telling=telling,
            at=erasure.at,
            shared=self._settings.knowledge.streams,
            speech=self._speech,
            conversations=erasure.conversations,
        )

    def _completed(self, pending: Pending) -> Pending:
        """Wait until nothing of the person comes in any more; add the conversations that came in until then.

        Of an event in a conversation only the conversation tells whose it is, and that only by another event.
        """
        # Workers go by what they knew of the erased so many seconds ago. One that let an event of the person pass just
        # before it looked again must have done so before the flow is told: else the event comes in behind the erasure,
        # and stays. Twice that leaves it as long again to hand the event on. The file may be as old as this moment.
        self._sleep(2 * LOOK_SECONDS)
        speech = self._conversing.find(pending.erasure)
        if speech.ids == set(pending.erasure.conversations):
            return pending
        erasure = msgspec.structs.replace(pending.erasure, conversations=tuple(sorted(speech.ids)))
        telling = tuple(sorted({*pending.telling, *speech.names}))
        pending = msgspec.structs.replace(pending, erasure=erasure, telling=telling)
        self.erasures.begin(pending)
        self._sleep(2 * LOOK_SECONDS)
        return pending

    def _tell_flows(self, erasure: Erasure, deadline: float) -> None:
        record = LogRecord("", 0, 0, erasure.at, erasure.id.encode(), msgspec.json.encode(erasure))
        for flow in self._holders:
            self._log.append(control_stream(flow), [record])
        for flow in self._holders:
            self._progress(f"the flow {flow} lets go")
            while not self._has_applied(flow):
                if not runs(flow, self._settings.data_dir):
                    self._run_flow(flow)
                    if self._has_applied(flow):
                        break
                    detail = f"the flow {flow!r} stopped before it had let go"
                    raise HeadraceError(detail, "see what it said; then `headrace forget --finish`")
                self._wait(deadline, f"the flow {flow!r} has not let go yet")

    def _has_applied(self, flow: str) -> bool:
        stream = control_stream(flow)
        applied = {mark.partition: mark.offset for mark in self._holders[flow].applied() if mark.source == stream}
        return all(
            applied.get(str(partition), -1) >= self._log.bounds(stream, partition)[1]
            for partition in self._log.partitions(stream)
        )

    def _await_epochs(self, deadline: float) -> None:
        """Wait until flows that run have begun epochs anew: what they had been told is then part of their recovery."""
        for flow, holder in self._holders.items():
            for _ in range(_EPOCHS):
                since = self._clock()
                while runs(flow, self._settings.data_dir) and not any(
                    mark.read_at > since for mark in holder.applied()
                ):
                    self._wait(deadline, f"the flow {flow!r} has closed no epoch")

    def _wait(self, deadline: float, what: str) -> None:
        if time.monotonic() >= deadline:
            raise HeadraceError(what, "see that it runs; then `headrace forget --finish`")
        self._sleep(POLL_SECONDS)

    def _redacted(self, judge: Redactor, streams: Iterable[str]) -> list[Removed]:
        found: list[Removed] = []
        for stream in streams:
            self._progress(f"clearing the log of {stream}")
            done = self._log.redact(stream, judge)
            found.append(Removed(f"log/{stream}", "events", done.removed))
            found.append(Removed(f"log/{stream}", "names in events", done.reduced))
            found.append(Removed(f"log/{stream}", _HELD, done.held))
        return found

    def _compacted(self, pending: Pending, deadline: float) -> list[Compaction]:
        """Compact the databases.

        What the engine keeps for its recovery leaves it only when later epochs have ended: then it is compacted again.
        """
        records = Needles((*pending.erasure.records, *pending.erasure.conversations))
        recovery = self._settings.data_dir.absolute() / "recovery"
        self._progress("compacting")
        paths = databases(self._settings.data_dir, [self._settings.cache_path])
        kept = [path for path in paths if recovery in path.absolute().parents]
        others = [path for path in paths if path not in kept]
        still = not any(runs(flow, self._settings.data_dir) for flow in FLOWS)
        done = {one.path: one for one in compact(others, deadline, patience=_UNHURRIED if still else STORE_PATIENCE)}
        anew = write_anew(self._settings.kpis_path, max(1.0, deadline - time.monotonic()))
        done |= {one.path: one for one in anew}
        done |= {one.path: one for one in compact(kept, deadline, patience=ENGINE_PATIENCE)}
        for _ in range(ROUNDS):
            again = [path for path in kept if _holds(path, records)]
            if not again:
                break
            for flow in self._holders:
                if not runs(flow, self._settings.data_dir):
                    self._run_flow(flow)
            self._await_epochs(deadline)
            done |= {one.path: one for one in compact(again, deadline, patience=ENGINE_PATIENCE)}
        return list(done.values())

    def _scanned(self, pending: Pending) -> Scanned:
        """Search everything for texts of the person."""
        self._progress("searching all files")
        needles = Needles((*pending.telling, *pending.values))
        return scan(self._folders(), needles, besides=[self._settings.erasures_path])

    def _stood(self, trail: Trail) -> tuple[Found, ...]:
        """Return where texts that name the person stand now, beside the log, which is counted by events."""
        self._progress("searching all files")
        log = self._settings.log_dir.absolute()
        folders = [self._settings.data_dir, self._settings.lake_dir]
        found = scan(folders, Needles(trail.telling), besides=[self._settings.erasures_path])
        places: dict[str, int] = {}
        for path, texts in found.hits.items():
            if log not in path.absolute().parents:
                # A database and its write-ahead log are one, and so are the sixteen of a flow's recovery.
                name = str(Path(self._name(path)).parent) if "recovery" in path.parts else self._name(path)
                name = name.removesuffix("-wal")
                places[name] = places.get(name, 0) + sum(texts.values())
        return tuple(Found(name, count) for name, count in sorted(places.items()))

    def _others(self, judge: Redactor) -> Others:
        tables = {
            PROFILES: [table.name for table in self._settings.profiles.tables],
            TABLES: [live.name for live in self._settings.tables.live],
        }
        stores = [(reader, tables[flow]) for flow, reader in self._readers.items()]
        return Others(stores, self._log, self._reading, judge.concerns, speech=self._speech, profiles=self._profiles)

    def _server_remarks(self, seconds: float) -> list[str]:
        rows = self._settings.rows
        if rows.backend != "postgres" or rows.dsn is None:
            return []
        self._progress("compacting PostgreSQL")
        schemas = {PROFILES: schema_of(rows.db_schema), TABLES: rows.db_schema}
        dsn = rows.dsn.get_secret_value()
        said = [line for flow in self._readers for line in compact_schema(dsn, schemas[flow], seconds)]
        return list(dict.fromkeys(said))

    def _folders(self) -> list[Path]:
        return [self._settings.data_dir, self._settings.log_dir, self._settings.lake_dir]

    def _name(self, path: Path) -> str:
        for folder in self._folders():
            if folder.absolute() in path.absolute().parents:
                return str(path.absolute().relative_to(folder.absolute().parent))
        return str(path)


def _erasure(trail: Trail, id_: str = "", at: int = 0) -> Erasure:
    return Erasure(
        id=id_,
        realm=trail.realm,
        person=trail.person,
        records=tuple(sorted(trail.records)),
        identifiers=tuple(sorted(trail.identifiers)),
        at=at,
        conversations=tuple(sorted(trail.conversations)),
    )


def _summed(removed: Iterable[Removed]) -> list[Removed]:
    """Return how much was removed at each place; what stays there is as it was seen last."""
    counts: dict[tuple[str, str], int] = {}
    for one in removed:
        place = one.place, one.what
        counts[place] = one.count + (0 if one.what == _HELD else counts.get(place, 0))
    return [Removed(*place, count) for place, count in counts.items()]


def _of_nobody_else(path: Path, texts: Mapping[str, int], had: Had) -> int:
    """Count what was found in a file, without what others have."""
    longer = Needles(word for text in texts for word in had.within.get(text, ()))
    scanned = Scanned()
    if longer:
        scan_file(path, longer, scanned)
    parts = scanned.hits.get(path, {})
    count = 0
    for text, number in texts.items():
        if text not in had.shared:
            count += max(0, number - sum(parts.get(word, 0) for word in had.within.get(text, ())))
    return count


def _holds(path: Path, needles: Needles) -> bool:
    scanned = Scanned()
    scan_file(path, needles, scanned)
    return bool(scanned.hits)
