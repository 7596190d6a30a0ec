"""The queues of an assignment: frames move from one to the next, and a full one makes the stage before it wait."""

import asyncio

import pytest

from consumers.assignment import Assignment
from consumers.in_flight_frame import Decided, InFlightFrame, Skipped
from consumers.metrics import ConsumerMetrics
from consumers.sightings.recent_frames import RecentFrames
from consumers.sightings.sightings import Sightings
from consumers.stages.calibration import CalibrationWatch
from framematch.core.frames import Frame
from framematch.core.health import new_registry
from framematch.core.settings import ConsumerSettings, KafkaSettings, SightingSettings
from framematch.matching.decision import NO_CONTENT
from tests.unit.consumers.sample_frames import TRUNCATED, UNKNOWN, fetched, prepare

PARTITION = fetched(0).partition


def assignment(*frames: InFlightFrame, **settings: object) -> Assignment:
    # With many threads each takes one frame.
    own = ConsumerSettings.model_validate({"batch_size": 2, "batch_window_ms": 0, "decode_threads": 16, **settings})
    metrics = ConsumerMetrics(new_registry())
    sightings = Sightings(KafkaSettings(), SightingSettings(), metrics)
    made = Assignment(frozenset([PARTITION]), own, sightings, CalibrationWatch(metrics))
    for frame in frames:
        made.add(frame)
    return made


async def next_frame(own: Assignment) -> InFlightFrame:
    [frame] = await asyncio.wait_for(own.next_frames(), 5)
    return frame


async def prepare_next(own: Assignment, regions: int = 1) -> InFlightFrame:
    frame = await next_frame(own)
    frame.header = Frame("till-1", frame.record.offset, frame.record.offset)
    prepare(frame, regions)
    own.prepared(frame)
    return frame


async def decide_next(own: Assignment) -> list[InFlightFrame]:
    """The frames of a batch, one for each of its regions."""
    batch = await asyncio.wait_for(own.next_batch(), 5)
    for region in batch:
        region.frame.decide(region.number, UNKNOWN)
    own.decided(batch)
    return [region.frame for region in batch]


async def test_frames_are_ready_in_the_order_in_which_they_were_fetched() -> None:
    own = assignment(*(fetched(offset) for offset in range(3)))
    first, second = await prepare_next(own), await next_frame(own)
    second.outcome = TRUNCATED
    own.prepared(second)
    waiting = asyncio.ensure_future(own.ready_frames())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await decide_next(own) == [first]
    assert await asyncio.wait_for(waiting, 5) == [first, second]
    assert not first.crops


@pytest.mark.parametrize("reuse", [False, True])
async def test_a_region_that_was_decided_in_preparation_goes_into_no_batch_and_keeps_its_place(reuse: bool) -> None:
    own = assignment(*(fetched(offset) for offset in range(3)), reuse_static_regions=reuse)
    frames = []
    for regions, empty in ((1, {0}), (2, {1}), (1, {0})):
        frame = await next_frame(own)
        frame.header = Frame("till-1", frame.record.offset, frame.record.offset)
        prepare(frame, regions)
        for number in empty:
            frame.decide(number, NO_CONTENT)
        own.prepared(frame)
        frames.append(frame)
    assert await asyncio.wait_for(own.ready_frames(), 5) == frames[:1]
    assert await decide_next(own) == [frames[1]]
    assert await asyncio.wait_for(own.ready_frames(), 5) == frames[1:]
    assert [frame.outcome for frame in frames] == [
        Decided((NO_CONTENT,), {}), Decided((UNKNOWN, NO_CONTENT), {}), Decided((NO_CONTENT,), {})
    ]  # fmt: skip


async def test_no_frame_is_prepared_while_two_batches_wait() -> None:
    own = assignment(fetched(0), fetched(1))
    await prepare_next(own, regions=4)
    waiting = asyncio.ensure_future(own.next_frames())
    await asyncio.sleep(0)
    assert not waiting.done()
    await decide_next(own)
    assert await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize(
    ("waiting", "size_bytes", "settings", "expected"),
    [
        (1, 10, {}, [1]),
        (3, 10, {}, [2, 1]),  # one thread does not take all
        (6, 10, {"decode_threads": 3}, [2, 2, 1, 1]),
        (40, 10, {"batch_size": 64}, [8, 8, 8, 8, 4, 2, 1, 1]),
        (10, 10, {"batch_size": 1}, [2, 2, 2, 2, 1, 1]),  # never more than can wait for a batch
        (10, 60_000, {}, [2, 2, 2, 2, 1, 1]),
        (4, 200_000, {}, [1, 1, 1, 1]),  # large ones take long
    ],
)
async def test_of_a_backlog_a_thread_takes_several_small_frames(
    waiting: int, size_bytes: int, settings: dict[str, int], expected: list[int]
) -> None:
    frames = [fetched(offset, value=bytes(size_bytes)) for offset in range(waiting)]
    own = assignment(*frames, **{"batch_size": 32, "decode_threads": 2, **settings})
    taken = [await asyncio.wait_for(own.next_frames(), 5) for _ in expected]
    assert [len(part) for part in taken] == expected
    assert [frame for part in taken for frame in part] == frames


async def test_the_ordering_keys_take_turns_in_what_a_thread_takes_at_once() -> None:
    frames = [fetched(offset, key=key) for offset, key in enumerate(["a", "a", "a", "a", "b", "c"])]
    own = assignment(*frames, batch_size=32, decode_threads=1)
    assert [frame.ordering_key for frame in await own.next_frames()] == ["a", "b", "c", "a", "a", "a"]


@pytest.mark.parametrize(("reuse", "inferred"), [(False, 2), (True, 1)])
async def test_static_regions_go_through_the_model_unless_they_may_be_reused(reuse: bool, inferred: int) -> None:
    own = assignment(fetched(0), fetched(1), reuse_static_regions=reuse)
    frames = [await prepare_next(own) for _ in range(2)]
    assert len(await decide_next(own)) == inferred
    assert await asyncio.wait_for(own.ready_frames(), 5) == frames


def complete(own: Assignment, *sequences: int) -> list[InFlightFrame]:
    """Decided frames with these sequences, of which those are skipped that repeat others."""
    frames = []
    for offset, number in enumerate(sequences):
        frame = fetched(offset)
        frame.header = Frame("till-1", number, number)
        prepare(frame, 1)
        frame.decide(0, UNKNOWN)
        frames.append(frame)
    own.skip_repeats(frames)
    return frames


def test_a_second_record_of_a_frame_is_skipped_and_counted() -> None:
    own = assignment()
    outcomes = [frame.outcome for frame in complete(own, 1, 2, 1, 3, 2)]
    assert [one == Skipped("repeat") for one in outcomes] == [False, False, True, False, True]


def test_a_record_that_was_rejected_or_skipped_does_not_hide_a_later_one_of_its_frame() -> None:
    own = assignment()
    for outcome in (TRUNCATED, Skipped("age")):
        frame = fetched(0)
        frame.header, frame.outcome = Frame("till-1", 1, 1), outcome
        own.skip_repeats([frame])
        assert frame.outcome is outcome
    assert [type(frame.outcome) for frame in complete(own, 1)] == [Decided]


def test_only_the_newest_frames_of_each_camera_are_remembered() -> None:
    frames = RecentFrames()
    assert all(frames.add(camera, str(number)) for camera in ("till-1", "till-2") for number in range(129))
    assert not frames.add("till-1", "1")
    assert frames.add("till-1", "0")


async def test_a_batch_leaves_at_once_when_the_model_is_idle_else_when_it_has_computed_those_before() -> None:
    own = assignment(*(fetched(offset) for offset in range(3)), batch_size=8, batch_window_ms=3_600_000)
    first = await prepare_next(own)
    batch = await asyncio.wait_for(own.next_batch(), 5)
    assert [region.frame for region in batch] == [first]

    others = [await prepare_next(own), await prepare_next(own)]
    waiting = asyncio.ensure_future(own.next_batch())
    await asyncio.sleep(0)
    assert not waiting.done()
    first.decide(0, UNKNOWN)
    own.decided(batch)
    assert [region.frame for region in await asyncio.wait_for(waiting, 5)] == others
