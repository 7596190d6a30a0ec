"""A replay of partitions in memory, from the records of frames and events to what differs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from consumers.in_flight_frame import Decided, InFlightFrame, Rejected
from consumers.replay.pairing import Found, OnlyPublished, OnlyReplayed, Pair
from consumers.replay.replay import Replay
from consumers.replay.summary import Summary
from consumers.replay.time_range import TimeRange
from framematch.core.errors import BadFrameError, TritonUnavailableError
from framematch.core.events import MATCH_SCHEMA, encode, frame_reference
from framematch.core.frames import Frame, frame_headers, parse_frame
from framematch.core.ids import match_event_id
from framematch.matching.decision import Candidate, Decision
from tests.sample_events import AT_US, match_event
from tests.unit.consumers.replay.fake_partitions import FakePartitions
from tests.unit.consumers.sample_frames import make_served

FRAMES, MATCHES = "framematch.frames", "framematch.matches"
MINUTE_US = 60_000_000
WANTED = TimeRange(AT_US, AT_US + MINUTE_US)
REGION = (0, 0, 10, 10)


def frame(number: int, *, camera: str = "till-1", arrived_us: int | None = None) -> Frame:
    return Frame(camera, AT_US + 1_000 * number, number, grabbed_at_us=arrived_us)


def stored(frames: Sequence[Frame], *, partition: int = 0, value: bytes = b"jpeg") -> list[ConsumerRecord]:
    return [
        ConsumerRecord(
            FRAMES, partition, offset, one.captured_at_us // 1_000, 0, one.camera.encode(), value, 0, 6, 4,
            tuple(frame_headers(one)),
        )
        for offset, one in enumerate(frames)
    ]  # fmt: skip


def events(records: Sequence[ConsumerRecord], *, partition: int = 0, product: str = "milk") -> list[ConsumerRecord]:
    """The published event of each of these records of frames, a millisecond after the frame has arrived."""
    found = []
    for offset, one in enumerate(records):
        header = parse_frame(one.key, one.headers)
        reference = frame_reference(header, FRAMES, one.partition, one.offset)
        event = replace(
            match_event(product=product), frame=reference, id=match_event_id(header.id, REGION, MATCH_SCHEMA)
        )
        at_ms = header.arrived_at_us // 1_000 + 1
        found.append(ConsumerRecord(MATCHES, partition, offset, at_ms, 0, one.key, encode(event), 0, 6, 4, ()))
    return found


class FakeDecider:
    """Decides that every frame shows `product`, except for those whose bytes are "bad"."""

    def __init__(self, product: str = "milk", before: Callable[[], None] = lambda: None) -> None:
        self._decision = Decision("match", 0.9, 0.1, (Candidate(product, 0.9),))
        self._before = before

    async def decide(self, frames: Sequence[InFlightFrame]) -> None:
        self._before()
        for one in frames:
            one.header, one.served = parse_frame(one.record.key, one.record.headers), make_served(snapshot="new")
            one.regions, one.outcome = (REGION,), Decided((self._decision,), {})
            if one.record.value == b"bad":
                one.outcome = Rejected("decode", BadFrameError("truncated", "it ends early"))


def in_memory(
    frames: Sequence[Sequence[ConsumerRecord]], matches: Sequence[Sequence[ConsumerRecord]]
) -> FakePartitions:
    """Each topic by its partitions."""
    records = {TopicPartition(FRAMES, number): one for number, one in enumerate(frames)}
    return FakePartitions(records | {TopicPartition(MATCHES, number): one for number, one in enumerate(matches)})


def replay_of(consumer: FakePartitions, decider: FakeDecider | None = None, camera: str | None = None) -> Replay:
    fake: Any = decider or FakeDecider()
    return Replay(consumer, fake, WANTED, camera=camera)


async def run(replay: Replay, consumer: FakePartitions) -> list[Found]:
    frames, matches = (sorted(one for one in consumer.records if one.topic == topic) for topic in (FRAMES, MATCHES))
    return [found async for found in replay.run(frames, matches, deleted_before_us=0)]


def changes(found: Sequence[Found]) -> list[bool]:
    return [one.changed for one in found if isinstance(one, Pair)]


async def test_every_frame_of_every_partition_is_paired_with_its_event() -> None:
    frames = [stored([frame(n) for n in range(7)]), stored([frame(n, camera="till-2") for n in range(3)], partition=1)]
    consumer = in_memory(frames, [events(frames[0]), events(frames[1], partition=1)])
    replay = replay_of(consumer)
    found = await run(replay, consumer)
    assert changes(found) == [False] * 10
    assert (replay.reading.frames, replay.reading.finished) == (10, True)


async def test_another_product_is_a_change_of_each_frame() -> None:
    frames = stored([frame(n) for n in range(3)])
    consumer = in_memory([frames], [events(frames, product="juice")])
    found = await run(replay_of(consumer), consumer)
    summary = Summary()
    for one in found:
        summary.add(one)
    assert changes(found) == [True] * 3
    flows = [(flow.active, flow.shadow, flow.regions) for flow in summary.report().counts.flows]
    assert flows == [("juice", "milk", 3)]
    assert summary.changed_decisions == 3


async def test_frames_outside_of_the_range_and_of_other_cameras_are_left_out() -> None:
    before, after = Frame("till-1", AT_US - 1_000, 0), Frame("till-1", WANTED.until_us, 0)
    frames = stored([before, frame(1), frame(2, camera="till-2"), after])
    consumer = in_memory([frames], [events(frames)])
    replay = replay_of(consumer, camera="till-1")
    [pair] = await run(replay, consumer)
    assert isinstance(pair, Pair)
    assert pair.replayed.frame.id == frame(1).id
    assert "till-2" in replay.reading.cameras


async def test_events_are_found_when_the_topics_have_different_numbers_of_partitions() -> None:
    frames = [stored([frame(n) for n in range(4)]), stored([frame(n, camera="till-2") for n in range(4)], partition=1)]
    consumer = in_memory(frames, [events([*frames[0], *frames[1]])])
    assert changes(await run(replay_of(consumer), consumer)) == [False] * 8


async def test_events_of_a_camera_whose_clock_is_an_hour_ahead_are_found() -> None:
    arrived_us = AT_US - 60 * MINUTE_US
    frames = stored([frame(n, arrived_us=arrived_us + n) for n in range(3)])
    consumer = in_memory([frames], [events(frames)])
    assert changes(await run(replay_of(consumer), consumer)) == [False] * 3


async def test_a_frame_that_was_sent_twice_counts_once() -> None:
    frames = stored([frame(0), frame(0), frame(1)])
    consumer = in_memory([frames], [events([frames[0], frames[2]])])
    replay = replay_of(consumer)
    assert changes(await run(replay, consumer)) == [False, False]
    assert replay.reading.repeats == 1


async def test_what_has_only_one_half_is_reported_with_the_reason() -> None:
    frames = stored([frame(n) for n in range(5)])
    frames[1] = replace(frames[1], value=b"bad")
    published = [one for number, one in enumerate(events(frames)) if number in (0, 1, 3)]
    consumer = in_memory([frames], [published])
    replay = replay_of(consumer)
    found = await run(replay, consumer)
    assert [one.replayed.frame.offset for one in found if isinstance(one, Pair)] == [0, 3]
    assert [one.published.frame.offset for one in found if isinstance(one, OnlyPublished)] == [1]
    alone = [(one.replayed.frame.offset, one.reason) for one in found if isinstance(one, OnlyReplayed)]
    assert alone == [(2, "no_output"), (4, "not_processed")]
    assert dict(replay.reading.undecided) == {"truncated": 1}


async def test_a_record_among_the_events_that_is_none_is_skipped() -> None:
    frames = stored([frame(0), frame(1)])
    published = events(frames)
    noise = replace(published[0], value=b"noise")
    consumer = in_memory([frames], [[noise, replace(published[0], offset=1), replace(published[1], offset=2)]])
    assert changes(await run(replay_of(consumer), consumer)) == [False, False]


async def test_without_a_topic_of_events_nothing_was_processed() -> None:
    consumer = in_memory([stored([frame(0)])], [])
    [found] = await run(replay_of(consumer), consumer)
    assert isinstance(found, OnlyReplayed)
    assert found.reason == "not_processed"


async def test_a_replay_that_fails_half_way_has_yielded_what_it_found_and_calls_nothing_missing() -> None:
    frames = stored([frame(n) for n in range(8)])
    consumer = in_memory([frames], [events(frames)])
    calls = iter([False, False, True])

    def fail_at_the_third() -> None:
        if next(calls):
            raise TritonUnavailableError("Triton does not answer")

    replay, found = replay_of(consumer, FakeDecider(before=fail_at_the_third)), list[Found]()

    async def collect() -> None:
        async for one in replay.run([TopicPartition(FRAMES, 0)], [TopicPartition(MATCHES, 0)], deleted_before_us=0):
            found.append(one)  # a comprehension would be lost with the error

    with pytest.raises(TritonUnavailableError):
        await collect()
    assert changes(found) == [False] * 4
    assert len(found) == 4
    assert not replay.reading.finished
