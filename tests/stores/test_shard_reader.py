from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.errors import StoreError
from events.log import LogRecord
from stores.capture.shard_reader import Manner, ShardReader, read_place
from stores.capture.shards import Lapsed, Later, Listing, Page, Shard, Trimmed
from tests.stores.shards_model import KEYS, RETENTION, ShardsModel

MANNER = Manner("the stream 'orders'", "orders", "oldest", "fail", 0, 0, 1000)
SECONDS = 20


class Reading:
    """A reader that is opened, drawn from and broken off; it remembers what it was given, and where it was then."""

    def __init__(self, stream: ShardsModel, place: Any = None, manner: Manner = MANNER) -> None:
        self.stream = stream
        self.manner = manner
        self.given: list[LogRecord] = []
        self.places: list[tuple[Any, int]] = [(place, 0)]
        self.caught_up = False
        self.true_at: int | None = None
        # Each look at the clock is a minute later, so that no pause is still on.
        self._clock = itertools.count(0, 60_000)
        self.reader = self._open(place)

    def _open(self, place: Any) -> ShardReader:
        return ShardReader(self.stream, read_place(place, "orders"), self.manner, lambda: next(self._clock))

    def draw(self, limit: int = 100) -> None:
        drawn = self.reader.draw(limit)
        if drawn is None:
            return
        assert len(drawn.records) <= limit
        self.given += drawn.records
        self.places.append((drawn.place, len(self.given)))
        self.caught_up = drawn.caught_up
        self.true_at = drawn.true_at

    def draw_until(self, done: Callable[[], bool], limit: int = 100) -> None:
        deadline = time.monotonic() + SECONDS
        while not done():
            self.draw(limit)
            assert time.monotonic() < deadline, "nothing came of it"
            time.sleep(0.0002)

    def finish(self) -> None:
        self.draw_until(lambda: self.caught_up and len(self.given) >= len(self.stream.puts))
        self.reader.close()

    def break_off(self, back: int = 0) -> None:
        """Die, and come back to one of the last places; what was given after it was never kept."""
        self.reader.close()
        place, count = self.places[max(0, len(self.places) - 1 - back)]
        del self.given[count:]
        self.places = [(place, count)]
        self.caught_up = False
        self.reader = self._open(place)


@pytest.fixture
def readings() -> Iterator[list[Reading]]:
    opened: list[Reading] = []
    yield opened
    for reading in opened:
        reading.reader.close()


def numbers_by_key(records: list[LogRecord]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for record in records:
        assert record.key is not None
        assert record.value is not None
        found[int(record.key)].append(int(record.value))
    return found


def puts_by_key(stream: ShardsModel) -> dict[int, list[int]]:
    put: dict[int, list[int]] = defaultdict(list)
    for one in stream.puts:
        put[one.key].append(one.number)
    return put


keys = st.integers(0, KEYS - 1)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys),
        st.tuples(st.just("put"), keys),
        st.tuples(st.just("split"), keys),
        st.tuples(st.just("merge"), keys),
        st.tuples(st.just("draw"), st.integers(1, 7)),
        st.tuples(st.just("break"), st.integers(0, 3)),
        st.tuples(st.just("fault"), st.sampled_from([Later("busy"), Lapsed()])),
    ),
    max_size=60,
)


@given(acts=acts, tells=st.booleans())
@settings(max_examples=40, deadline=None)
def test_whatever_is_split_and_merged_and_broken_off_each_key_is_given_once_and_in_order(
    acts: list[tuple[str, Any]], tells: bool
) -> None:
    stream = ShardsModel(tells=tells)
    reading = Reading(stream)
    try:
        for verb, argument in acts:
            if verb == "put":
                stream.put(argument)
            elif verb == "split":
                stream.split(argument)
            elif verb == "merge":
                stream.merge(argument)
            elif verb == "draw":
                reading.draw(argument)
            elif verb == "fault":
                stream.faults.append(argument)
            else:
                stream.faults.clear()
                reading.break_off(argument)
        reading.draw_until(lambda: reading.caught_up and len(reading.given) >= len(stream.puts))
    finally:
        reading.reader.close()
    assert numbers_by_key(reading.given) == puts_by_key(stream)


def test_a_child_is_not_asked_before_its_parents_have_been_given(readings: list[Reading]) -> None:
    stream = ShardsModel(page=1)
    for key in (1, 15, 1):
        stream.put(key)
    stream.split(1)
    stream.put(1)
    reading = Reading(stream)
    readings.append(reading)
    reading.draw_until(lambda: len(reading.given) == 2, limit=1)
    assert set(stream.reads) == {"shard-0"}
    reading.draw_until(lambda: len(reading.given) == 4)
    assert reading.given[3].headers == {"shard": "shard-1"}


def test_a_shard_that_ends_with_nothing_is_left_although_others_fill_each_batch(readings: list[Reading]) -> None:
    stream = ShardsModel(page=2)
    stream.put(1)
    stream.split(1)
    reading = Reading(stream)
    readings.append(reading)
    reading.draw_until(lambda: reading.caught_up)
    stream.split(1)
    for number in range(40):
        stream.put(number % KEYS)
    reading.draw_until(lambda: len(reading.given) >= 41 and reading.caught_up, limit=1)
    assert numbers_by_key(reading.given) == puts_by_key(stream)


def test_the_place_forgets_shards_that_retention_has_taken(readings: list[Reading]) -> None:
    stream = ShardsModel()
    stream.put(1)
    stream.split(1)
    reading = Reading(stream)
    readings.append(reading)
    reading.draw_until(lambda: reading.caught_up)
    assert reading.places[-1][0]["shards"]["shard-0"] == "closed"
    stream.now += RETENTION + 1
    stream.trim()
    reading.draw_until(lambda: set(reading.places[-1][0]["shards"]) == {"shard-1", "shard-2"})


def test_newest_begins_with_what_comes_later_even_if_it_is_broken_off_before_anything_came(
    readings: list[Reading],
) -> None:
    stream = ShardsModel()
    stream.put(1)
    stream.split(1)
    stream.put(2)
    stream.now += 1
    reading = Reading(stream, manner=MANNER._replace(start="newest"))
    readings.append(reading)
    reading.draw_until(lambda: reading.caught_up)
    assert reading.given == []
    reading.reader.close()
    stream.put(3)
    again = Reading(stream, reading.places[-1][0], MANNER._replace(start="newest"))
    readings.append(again)
    again.draw_until(lambda: bool(again.given))
    assert [record.value for record in again.given] == [b"2"]


def left_behind(stream: ShardsModel, away: int) -> Any:
    """Return the place of one who has read the first record, and is away while a second one comes and time passes."""
    reading = Reading(stream)
    stream.put(1)
    reading.draw_until(lambda: reading.caught_up and bool(reading.given))
    reading.reader.close()
    stream.put(1)
    stream.now += away
    stream.put(1)
    stream.trim()
    return reading.places[-1][0]


def test_what_retention_has_removed_is_an_error_with_its_remedy(readings: list[Reading]) -> None:
    stream = ShardsModel()
    reading = Reading(stream, left_behind(stream, RETENTION + 1))
    readings.append(reading)
    with pytest.raises(StoreError, match="'orders': retention has removed records of shard-0") as caught:
        reading.draw_until(lambda: False)
    assert "headrace capture reset orders" in caught.value.hint


def test_if_so_set_it_goes_on_behind_the_gap_and_says_so(
    readings: list[Reading], caplog: pytest.LogCaptureFixture
) -> None:
    stream = ShardsModel()
    reading = Reading(stream, left_behind(stream, RETENTION + 1), MANNER._replace(on_expired="oldest"))
    readings.append(reading)
    reading.draw_until(lambda: reading.caught_up and bool(reading.given))
    assert [record.value for record in reading.given] == [b"2"]
    assert "retention has removed records of shard-0 that were to come next" in caplog.text


def test_a_last_record_that_retention_has_taken_is_no_gap_while_what_came_later_is_there(
    readings: list[Reading],
) -> None:
    stream = ShardsModel()
    stream.put(1)
    reading = Reading(stream)
    readings.append(reading)
    reading.draw_until(lambda: reading.caught_up and bool(reading.given))
    # Idle for long, but looked after all the time: the place moves on although nothing comes.
    stream.now += RETENTION + 1
    reading.draw_until(lambda: reading.places[-1][0]["seen"] == stream.now)
    stream.put(1)
    stream.trim()
    reading.break_off()
    reading.draw_until(lambda: len(reading.given) == 2)


def test_who_falls_behind_retention_while_reading_is_told(readings: list[Reading]) -> None:
    stream = ShardsModel(page=1)
    for _ in range(5):
        stream.put(1)
    reading = Reading(stream)
    readings.append(reading)
    reading.draw_until(lambda: len(reading.given) >= 1)
    stream.now += RETENTION + 1
    stream.trim()
    stream.put(1)
    with pytest.raises(StoreError, match="retention has removed records"):
        reading.draw_until(lambda: False)


def test_a_shard_that_is_gone_before_it_was_read_to_its_end_is_an_error(readings: list[Reading]) -> None:
    stream = ShardsModel()
    place = left_behind(stream, 0)
    stream.split(1)
    stream.now += RETENTION + 1
    stream.trim()
    with pytest.raises(StoreError, match="retention has taken shard-0 before it was read to its end"):
        Reading(stream, place)


def test_what_is_trimmed_within_retention_is_read_from_the_oldest(readings: list[Reading]) -> None:
    stream = ShardsModel()
    place = left_behind(stream, 0)
    stream.faults.append(Trimmed())
    reading = Reading(stream, place)
    readings.append(reading)
    reading.draw_until(lambda: len(reading.given) >= 3)
    assert [record.value for record in reading.given] == [b"0", b"1", b"2"]


def test_another_stream_of_the_same_name_is_an_error(readings: list[Reading]) -> None:
    stream = ShardsModel()
    place = left_behind(stream, 0)
    stream.name = "orders@2"
    with pytest.raises(StoreError, match="has been deleted and made again"):
        Reading(stream, place)
    reading = Reading(stream, place, MANNER._replace(on_expired="oldest"))
    readings.append(reading)
    reading.draw_until(lambda: len(reading.given) == 3)


class TwoShards(ShardsModel):
    """Two shards, of which the lower one fails, or is behind, as it is told."""

    def __init__(self) -> None:
        super().__init__(page=1)
        self.split(1)
        self.fails = self.unseen = False

    def look(self) -> Listing:
        if self.unseen:
            detail = "too many requests"
            raise Later(detail)
        return super().look()

    def read(self, shard: Shard, iterator: str) -> Page:
        if shard.id == "shard-1" and self.fails:
            detail = "too many requests"
            raise Later(detail)
        return super().read(shard, iterator)


def test_of_several_shards_the_one_that_is_furthest_behind_says_as_of_when_all_was_given(
    readings: list[Reading],
) -> None:
    stream = TwoShards()
    reading = Reading(stream)
    readings.append(reading)
    reading.draw_until(lambda: reading.caught_up and reading.true_at == stream.now)
    stopped = stream.now
    stream.fails = True
    for _ in range(3):
        stream.now += 10
        stream.put(15)
        reading.draw_until(lambda: len(reading.given) == len(stream.puts))
    assert not reading.caught_up
    assert reading.true_at == stopped
    stream.fails = False
    reading.draw_until(lambda: reading.caught_up and reading.true_at == stream.now)


def test_while_the_shards_that_came_of_one_are_not_known_nothing_is_said_of_what_they_hold(
    readings: list[Reading],
) -> None:
    stream = TwoShards()
    reading = Reading(stream, manner=MANNER._replace(look_millis=10**12))
    readings.append(reading)
    reading.draw_until(lambda: reading.caught_up and reading.true_at == stream.now)
    stopped = stream.now
    stream.split(1)
    stream.put(1)
    stream.unseen = True
    reading.draw_until(lambda: reading.places[-1][0]["shards"]["shard-1"] == "closed")
    for _ in range(3):
        stream.now += 10
        stream.put(15)
        reading.draw_until(lambda: len(reading.given) == len(stream.puts) - 1)
    assert reading.true_at == stopped
    stream.unseen = False
    reading.draw_until(lambda: reading.caught_up and reading.true_at == stream.now)
    assert len(reading.given) == len(stream.puts)


def test_a_place_of_another_kind_of_source_is_an_error() -> None:
    with pytest.raises(StoreError, match="is not one of a stream in shards"):
        read_place({"lsn": 7}, "orders")
