"""One client's way: from the ring, and from Kafka when the ring has less; nothing lost, nothing repeated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from framematch.api.stream import follower as module
from framematch.api.stream.events import Gap, Published, Reset, Wanted
from framematch.api.stream.follower import Follower
from framematch.api.stream.history import History, Piece
from framematch.api.stream.metrics import StreamMetrics
from framematch.api.stream.positions import Positions
from framematch.api.stream.ring import Ring
from tests.event_stream import SseEvent, SseParser
from tests.unit.api.stream.stream_items import FakeHistory, event, positions


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.01)
    monkeypatch.setattr(module, "_RETRY_S", 0.01)


ALL = Wanted()
PLACES = st.lists(st.integers(0, 2), max_size=40)


def follower(
    ring: Ring, start: Positions, history: FakeHistory | None = None, wanted: Wanted | None = None
) -> Follower:
    past = cast("History", history or FakeHistory())
    return Follower(ring, past, StreamMetrics(CollectorRegistry()), wanted or Wanted(), start)


@asynccontextmanager
async def parsed(client: Follower) -> AsyncIterator[tuple[SseParser, Any]]:
    """A parser, and a function that awaits the next events."""
    parser, chunks = SseParser(), client.chunks()

    async def events() -> list[SseEvent]:
        return parser.feed(await anext(chunks))

    try:
        await events()
        yield parser, events
    finally:
        await chunks.aclose()


async def take(client: Follower, count: int) -> list[SseEvent]:
    found: list[SseEvent] = []
    async with parsed(client) as (_, events):
        while len(found) < count:
            async with asyncio.timeout(5):
                found += await events()
    return found


def numbers(events: list[SseEvent]) -> list[int]:
    return [msgspec.json.decode(one.data)["frame"]["sequence"] for one in events if one.type == "match"]


def log_of(places: list[int]) -> list[Published]:
    """The events of three partitions, in the order in which a process has read them."""
    ends = [0, 0, 0]
    found = []
    for partition in places:
        found.append(event(partition, ends[partition]))
        ends[partition] += 1
    return found


@settings(max_examples=40)
@given(PLACES, st.randoms(), st.integers(3_000, 40_000), st.data())
async def test_an_id_of_one_process_goes_on_exactly_at_another_that_read_in_another_order(
    places: list[int], chance: Any, max_bytes: int, data: st.DataObject
) -> None:
    first, other_places = log_of(places), places[:]
    chance.shuffle(other_places)
    one, other = Ring(1_000_000), Ring(max_bytes)
    for ring, items in ((one, first), (other, log_of(other_places))):
        ring.start(positions(0, 0, 0))
        for item in items:
            ring.append(item)
    got = data.draw(st.integers(0, len(places)))
    before = await take(follower(one, positions(0, 0, 0)), got) if got else []
    seen = [(item.partition, item.offset) for item in first[: len(before)]]  # a chunk may have more than asked
    resumed = Positions.decode(before[-1].id) if before else positions(0, 0, 0)
    missing = {(item.partition, item.offset) for item in first} - set(seen)
    after = await take(follower(other, resumed, FakeHistory(first)), len(missing)) if missing else []
    assert sorted(numbers(after)) == sorted(offset for _, offset in missing)


def ring_of(count: int, max_bytes: int = 1_000_000) -> Ring:
    ring = Ring(max_bytes)
    ring.start(positions(0))
    for offset in range(count):
        ring.append(event(0, offset))
    return ring


async def test_from_now_on_only_new_events_come() -> None:
    ring = ring_of(5)
    async with parsed(follower(ring, ring.positions.copy())) as (_, events):
        waiting = asyncio.ensure_future(events())
        await asyncio.sleep(0)
        ring.append(event(0, 5))
        ring.publish()
        assert numbers(await waiting) == [5]


async def test_the_first_bytes_come_at_once_with_the_position_and_the_time_to_wait() -> None:
    ring = ring_of(5)
    first = await anext(follower(ring, ring.positions.copy()).chunks())
    assert first == b"retry: 2000\nid: " + ring.positions.encode() + b"\n\n"


async def test_events_that_left_the_ring_come_from_kafka_and_the_reader_is_given_back() -> None:
    ring = ring_of(30, 8_000)
    assert ring.first > 10
    history = FakeHistory(event(0, offset) for offset in range(30))
    assert numbers(await take(follower(ring, positions(0), history), 30)) == list(range(30))
    assert history.readers == 0


async def test_a_client_that_the_ring_overtakes_goes_on_without_loss() -> None:
    ring = ring_of(3, 8_000)
    history = FakeHistory(event(0, offset) for offset in range(43))
    async with parsed(follower(ring, positions(0), history)) as (_, events):
        found = numbers(await events())
        for offset in range(3, 43):
            ring.append(event(0, offset))
        while len(found) < 43:
            found += numbers(await events())
    assert found == list(range(43))
    assert history.reads > 0


async def test_filtered_events_move_the_id_on_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_S", 0.0)
    ring = ring_of(4)
    async with parsed(follower(ring, positions(0), wanted=Wanted(frozenset({"status"})))) as (parser, events):
        assert await events() == []
        assert parser.comments == ["ping"]
        assert parser.last_id == ring.positions.encode().decode()


async def test_offsets_without_an_event_move_the_id_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_S", 0.0)
    ring = ring_of(2)
    async with parsed(follower(ring, ring.positions.copy())) as (parser, events):
        ring.positions.move(0, 0, 9)  # the end of a transaction
        while parser.last_id != ring.positions.encode().decode():
            assert await events() == []


def about(events: list[SseEvent]) -> list[dict[str, Any]]:
    return [{"event": one.type, **msgspec.json.decode(one.data)} for one in events if one.type in {"gap", "reset"}]


async def test_what_kafka_has_deleted_is_a_gap_with_its_offsets() -> None:
    ring = ring_of(2)
    ring.append(Gap(0, 0, 2, 9, "retention"))
    ring.append(event(0, 9))
    found = await take(follower(ring, positions(0)), 4)
    assert about(found) == [
        {"event": "gap", "type": "match", "topic": "framematch.matches", "reason": "retention", "partition": 0,
         "from": 2, "to": 9, "count": 7}
    ]  # fmt: skip
    assert [Positions.decode(one.id).offset(0, 0) for one in found] == [1, 2, 9, 10]


async def test_a_gap_is_only_as_large_as_what_the_client_lacks() -> None:
    ring = ring_of(2)
    ring.append(event(1, 0))
    ring.append(Gap(0, 0, 2, 9, "retention"))
    ring.append(event(0, 9))
    start = positions(7, 0)
    client = follower(ring, start)
    client._judged = True  # noqa: SLF001  # by Kafka: the other process was ahead
    found = await take(client, 3)
    assert [(one["from"], one["to"]) for one in about(found)] == [(7, 9)]
    assert numbers(found) == [0, 9]


async def test_a_gap_of_events_that_the_client_does_not_want_is_not_sent() -> None:
    ring = ring_of(0)
    ring.append(Gap(1, 0, 0, 9, "retention"))
    ring.append(event(0, 0))
    found = await take(follower(ring, positions(0), wanted=Wanted(frozenset({"match"}))), 1)
    assert [one.type for one in found] == ["match"]


async def test_a_topic_that_is_recreated_is_a_reset_and_read_from_its_first_event() -> None:
    ring = ring_of(3)
    async with parsed(follower(ring, positions(2))) as (_, events):
        found = await events()
        ring.append(Reset(0, b"new!", {0: 0}, "topic_recreated"))
        ring.append(event(0, 0))
        found += await events()
    assert [one.type for one in found] == ["match", "reset", "match"]
    assert numbers(found) == [2, 0]


async def test_an_id_of_a_former_topic_is_a_reset_as_kafka_judges_it() -> None:
    ring = ring_of(0)
    ring.append(Reset(0, b"new!", {0: 0}, "topic_recreated"))
    ring.append(event(0, 0))
    former, new = positions(50), positions(0)
    former.tags[0], new.tags[0] = b"old!", b"new!"
    judged = Piece([Reset(0, b"new!", {0: 0}, "topic_recreated")], new)
    found = await take(follower(ring, former, FakeHistory(judged=judged)), 2)
    assert about(found) == [
        {"event": "reset", "type": "match", "topic": "framematch.matches", "reason": "topic_recreated"}
    ]
    assert numbers(found) == [0]


async def test_an_id_that_is_ahead_of_this_process_waits_for_it() -> None:
    ring = ring_of(3)
    async with parsed(follower(ring, positions(5))) as (_, events):
        waiting = asyncio.ensure_future(events())
        for offset in range(3, 7):
            await asyncio.sleep(0)
            ring.append(event(0, offset))
            ring.publish()
        assert numbers(await waiting)[:1] == [5]
