"""A camera's state and rates, from two readings of its account, and when they are told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from edge.meter import CameraMeter, Reading
from edge.metrics import EdgeMetrics
from edge.status import StatusReporter, status_of
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import CameraStatus, decode
from framematch.core.kafka.records import ProducerRecord
from tests.support import eventually

START = Reading(
    at_s=100.0,
    source_frames=0,
    published=0,
    drops={},
    reconnects=0,
    last_frame_at_s=None,
    closed_because=None,
)


class MemoryProducer:
    """Keeps what is sent, and acknowledges it at once, or when told to while Kafka is `away`."""

    def __init__(self) -> None:
        self.records: list[tuple[str, CameraStatus | None]] = []
        self.away = False
        self.refuses = False
        self.waiting: list[tuple[str, asyncio.Future[Any]]] = []

    @property
    def statuses(self) -> list[CameraStatus]:
        return [status for _, status in self.records if status is not None]

    async def send(self, record: ProducerRecord) -> asyncio.Future[Any]:
        assert record.topic == "p.status"
        if self.refuses:
            raise KafkaUnavailableError("no producer")
        status = None if record.value is None else decode(record.value, CameraStatus)
        assert record.key is not None
        camera = record.key.decode()
        assert status is None or status.camera == camera
        self.records.append((camera, status))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.away:
            self.waiting.append((camera, future))
        else:
            future.set_result(None)
        return future

    def back(self) -> None:
        self.away = False
        for _, future in self.waiting:
            future.set_result(None)
        self.waiting.clear()


class Bench:
    """A reporter that runs, its producer and its cameras."""

    def __init__(self, *cameras: str, interval_s: float) -> None:
        self.producer, self.changed = MemoryProducer(), asyncio.Event()
        self._metrics = EdgeMetrics(CollectorRegistry())
        self.meters = {name: self.meter(name) for name in cameras}
        self.reporter = StatusReporter(
            self.producer, "p.status", self.meters.values(), self.changed, interval_s=interval_s
        )

    def meter(self, name: str) -> CameraMeter:
        return CameraMeter(name, self._metrics.of(name), self.changed.set)

    async def told(self, count: int) -> list[tuple[str, CameraStatus | None]]:
        """The first `count` records, once they are there."""
        await eventually(lambda: len(self.producer.records) >= count, message=f"{count} records")
        return self.producer.records


@asynccontextmanager
async def reporting(*cameras: str, interval_s: float = 1_000) -> AsyncIterator[Bench]:
    """A reporter over `cameras` that has told their first status unless it is told every moment."""
    bench = Bench(*cameras, interval_s=interval_s)
    running = asyncio.create_task(bench.reporter.run())
    await bench.told(len(cameras))
    try:
        yield bench
    finally:
        running.cancel()
        await asyncio.wait([running])


def after_ten_seconds(**changes: object) -> CameraStatus:
    now = replace(START, at_s=110.0, source_frames=300, published=50, last_frame_at_s=109.5)
    return status_of("till-1", START, replace(now, **changes), 0)  # type: ignore[arg-type]  # names are Reading's


def test_an_open_source_without_drops_is_online() -> None:
    status = after_ten_seconds()
    assert (status.state, status.reason) == ("online", None)


def test_rates_are_over_the_time_since_the_last_status() -> None:
    status = after_ten_seconds()
    assert (status.source_fps, status.sent_fps, status.last_frame_age_s) == (30.0, 5.0, 0.5)


def test_a_closed_source_is_offline_with_the_reason() -> None:
    status = after_ten_seconds(closed_because="no frame for 5 s")
    assert (status.state, status.reason) == ("offline", "no frame for 5 s")


def test_new_drops_make_it_degraded_and_name_themselves() -> None:
    status = after_ten_seconds(drops={"overrun": 3, "too_large": 1})
    assert (status.state, status.reason) == ("degraded", "frames dropped: 3 overrun, 1 too_large")
    assert status.drops == {"overrun": 3, "too_large": 1}


def test_old_drops_are_told_but_do_not_degrade() -> None:
    before = replace(START, drops={"overrun": 3})
    status = status_of("till-1", before, replace(before, at_s=110.0), 0)
    assert (status.state, status.drops) == ("online", {"overrun": 3})


def test_two_statuses_within_a_millisecond_give_no_absurd_rate() -> None:
    now = replace(START, at_s=100.001, source_frames=1, published=1)
    status = status_of("till-1", START, now, 0)
    assert (status.source_fps, status.sent_fps) == (1.0, 1.0)


def test_a_camera_that_never_gave_a_frame_has_no_age() -> None:
    assert status_of("till-1", START, replace(START, at_s=110.0), 0).last_frame_age_s is None


def test_frames_that_wait_on_disk_make_it_degraded() -> None:
    status = after_ten_seconds(spooled_frames=120, spooled_bytes=4_800_000)
    assert (status.state, status.reason) == ("degraded", "120 frames wait on disk for Kafka")
    assert (status.spooled_frames, status.spooled_bytes) == (120, 4_800_000)


def test_a_stream_that_lags_behind_is_degraded_and_a_little_lag_is_not() -> None:
    late = after_ten_seconds(lag_s=3.25)
    assert (late.state, late.reason, late.lag_s) == ("degraded", "the stream is 3.2 s behind its own clock", 3.25)
    assert after_ten_seconds(lag_s=0.25).state == "online"


def test_several_troubles_are_all_named() -> None:
    reason = after_ten_seconds(drops={"overrun": 2}, spooled_frames=1, lag_s=9.0).reason
    assert reason is not None
    assert [part.split()[0] for part in reason.split("; ")] == ["frames", "1", "the"]


def test_frames_left_out_because_nothing_moved_are_a_rate_and_no_trouble() -> None:
    status = after_ten_seconds(captured=10, still=40)
    assert (status.state, status.captured_fps, status.still_fps) == ("online", 1.0, 4.0)


def test_it_says_how_pictures_come_and_what_lag_is_not_known() -> None:
    status = after_ten_seconds(clock="rtcp", resolution=(1920, 1080), closed_because="no frame for 5 s")
    assert (status.clock, status.resolution, status.lag_s) == ("rtcp", (1920, 1080), None)


def test_a_state_keeps_the_time_when_it_began_until_it_changes() -> None:
    first = status_of("till-1", START, START, 1_000_000)
    second = status_of("till-1", START, START, 2_000_000, previous=first)
    lost = status_of("till-1", START, replace(START, closed_because="ended"), 3_000_000, previous=second)
    assert (first.since, second.since, lost.since) == (first.at, first.at, lost.at)


async def test_every_change_of_a_source_is_told_at_once_and_for_that_camera_alone() -> None:
    async with reporting("till-1", "till-2") as bench:
        bench.meters["till-1"].opened((640, 480))
        await bench.told(3)
        bench.meters["till-1"].closed("stream ended")
        await bench.told(4)
    assert [(status.camera, status.state, status.reason) for status in bench.producer.statuses] == [
        ("till-1", "offline", "starting"),
        ("till-2", "offline", "starting"),
        ("till-1", "online", None),
        ("till-1", "offline", "stream ended"),
    ]


async def test_the_status_is_sent_again_after_each_interval_which_it_names() -> None:
    async with reporting("till-1", interval_s=0.001) as bench:
        await bench.told(4)
    assert {(status.camera, status.interval_s) for status in bench.producer.statuses} == {("till-1", 0.001)}


async def test_while_kafka_is_away_nothing_piles_up_and_then_the_newest_is_told() -> None:
    async with reporting("till-1", "till-2") as bench:
        bench.producer.away = True
        bench.meters["till-1"].opened((640, 480))
        await bench.told(3)
        for number in range(50):
            bench.meters["till-1"].closed(f"failure {number}")
            await asyncio.sleep(0)  # the reporter looks each time
        assert len(bench.producer.records) == 3
        bench.producer.back()
        await bench.told(4)
    assert [status.reason for status in bench.producer.statuses[2:]] == [None, "failure 49"]


async def test_a_camera_that_comes_later_is_told_at_once() -> None:
    async with reporting("till-1") as bench:
        bench.reporter.add(bench.meter("till-2"))
        [_, (camera, status)] = await bench.told(2)
    assert camera == "till-2"
    assert status is not None


async def test_a_camera_that_goes_leaves_a_tombstone_and_is_told_no_more() -> None:
    async with reporting("till-1", "till-2") as bench:
        bench.reporter.remove("till-1")
        await bench.told(3)
        bench.reporter.settings_refused("a reason to tell all")
        await bench.told(4)
        await bench.reporter.report_all()
    assert bench.producer.records[2] == ("till-1", None)
    assert {camera for camera, _ in bench.producer.records[3:]} == {"till-2"}


async def test_a_tombstone_that_kafka_refused_is_sent_again() -> None:
    async with reporting("till-1", interval_s=0.001) as bench:
        bench.producer.refuses = True
        bench.reporter.remove("till-1")
        await asyncio.sleep(0)
        bench.producer.refuses = False
        await eventually(lambda: ("till-1", None) in bench.producer.records)


async def test_a_camera_that_comes_back_while_its_tombstone_is_on_its_way_stays() -> None:
    async with reporting("till-1") as bench:
        bench.producer.away = True
        bench.reporter.remove("till-1")
        await bench.told(2)
        bench.reporter.add(bench.meter("till-1"))
        bench.producer.back()
        await bench.told(3)
        await bench.reporter.report_all()
    assert [status is None for _, status in bench.producer.records] == [False, True, False, False]


async def test_refused_settings_stand_in_every_status_until_they_are_mended() -> None:
    async with reporting("till-1", "till-2") as bench:
        bench.reporter.settings_refused("edge.fps: input should be greater than 0")
        await bench.told(4)
        bench.reporter.settings_refused(None)
        await bench.told(6)
    told = [status.settings_error for status in bench.producer.statuses]
    assert told == [None] * 2 + ["edge.fps: input should be greater than 0"] * 2 + [None] * 2


async def test_the_last_status_follows_the_one_that_was_on_its_way() -> None:
    bench = Bench("till-1", interval_s=1_000)
    bench.producer.away = True
    running = asyncio.create_task(bench.reporter.run())
    await bench.told(1)
    running.cancel()
    bench.meters["till-1"].closed("stopped")
    asyncio.get_running_loop().call_soon(bench.producer.back)
    await bench.reporter.report_all(deadline_s=30)
    assert [status.reason for status in bench.producer.statuses] == ["starting", "stopped"]


async def test_the_last_status_does_not_wait_for_ever() -> None:
    bench = Bench("till-1", interval_s=1_000)
    bench.producer.away = True
    await bench.reporter.report_all(deadline_s=0.01)
    assert len(bench.producer.records) == 1


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "close", "add", "remove", "away", "back"]), st.sampled_from("ab"), st.booleans()
        ),
        max_size=30,
    )
)
@example([("away", "a", False), ("remove", "a", False), ("add", "a", False)])
def test_whatever_happens_the_topic_ends_with_the_truth_of_each_camera(steps: list[tuple[str, str, bool]]) -> None:
    asyncio.run(_live_through(steps))


async def _live_through(steps: list[tuple[str, str, bool]]) -> None:
    bench = Bench("a", interval_s=1_000)
    here, producer = dict(bench.meters), bench.producer
    running = asyncio.create_task(bench.reporter.run())
    for number, (step, camera, at_once) in enumerate(steps):
        if step == "open" and camera in here:
            here[camera].opened((640, 480))
        elif step == "close" and camera in here:
            here[camera].closed(f"reason {number}")
        elif step == "add" and camera not in here:
            here[camera] = bench.meter(camera)
            bench.reporter.add(here[camera])
        elif step == "remove" and camera in here:
            del here[camera]
            bench.reporter.remove(camera)
        elif step in {"away", "back"}:
            producer.back()
            producer.away = step == "away"
        for _ in range(0 if at_once else 5):
            await asyncio.sleep(0)  # lets the reporter run
        unanswered = Counter(name for name, future in producer.waiting if not future.done())
        assert max(unanswered.values(), default=0) <= 1
    running.cancel()
    await asyncio.wait([running])
    producer.back()
    await bench.reporter.report_all(deadline_s=30)
    last = dict(producer.records)  # of each key the last, as compaction leaves it
    assert {name for name, status in last.items() if status is not None} == set(here)
    for name, meter in here.items():
        status = last[name]
        assert status is not None
        assert status.reason == meter.read().closed_because


@pytest.mark.parametrize("error", [KafkaTimeoutError("late"), KafkaUnavailableError("gone")])
async def test_a_status_that_failed_does_not_end_the_reports(error: Exception) -> None:
    async with reporting("till-1") as bench:
        bench.producer.away = True
        bench.meters["till-1"].opened((640, 480))
        await bench.told(2)
        bench.producer.waiting.pop()[1].set_exception(error)
        bench.producer.away = False
        bench.meters["till-1"].closed("stream ended")
        await bench.told(3)
    assert bench.producer.statuses[-1].reason == "stream ended"
