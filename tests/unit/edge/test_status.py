"""A camera's status from two snapshots of its statistics, and when it is reported."""

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

from edge.metrics import EdgeMetrics
from edge.snapshot import StatsSnapshot
from edge.stats import CameraStats
from edge.status import StatusReporter, status_of
from edge.wanted import Wanted
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import CameraStatus, RefusedSettings, decode
from framematch.core.kafka.records import ProducerRecord
from tests.support import eventually

START = StatsSnapshot(
    at_s=100.0,
    source_frames=0,
    published=0,
    drops={},
    reconnects=0,
    last_frame_at_s=None,
    closed_because=None,
)


class MemoryProducer:
    """Keeps what is sent, and acknowledges it at once, or on `recover` while Kafka is `unavailable`."""

    def __init__(self) -> None:
        self.records: list[tuple[str, CameraStatus | None]] = []
        self.unavailable = False
        self.rejects = False
        self.in_flight: list[tuple[str, asyncio.Future[Any]]] = []

    @property
    def statuses(self) -> list[CameraStatus]:
        return [status for _, status in self.records if status is not None]

    async def send(self, record: ProducerRecord) -> asyncio.Future[Any]:
        assert record.topic == "p.status"
        if self.rejects:
            raise KafkaUnavailableError("no producer")
        assert record.key is not None
        status = None if record.value is None else decode(record.value, CameraStatus)
        camera = record.key.decode()
        assert status is None or status.camera == camera
        self.records.append((camera, status))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.unavailable:
            self.in_flight.append((camera, future))
        else:
            future.set_result(None)
        return future

    def recover(self) -> None:
        self.unavailable = False
        for _, future in self.in_flight:
            future.set_result(None)
        self.in_flight.clear()


class Cameras:
    """The configured cameras, in place of a `CameraManager`."""

    def __init__(self, *names: str) -> None:
        self.changed = asyncio.Event()
        self.stats: dict[str, CameraStats] = {}
        self._metrics = EdgeMetrics(CollectorRegistry())
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        self.stats[name] = CameraStats(name, self._metrics.of(name), self.changed.set)
        self.changed.set()

    def remove(self, name: str) -> None:
        del self.stats[name]
        self.changed.set()


class Reporting:
    """A reporter with its cameras and its producer."""

    def __init__(self, *cameras: str, interval_s: float = 1_000) -> None:
        self.producer, self.cameras = MemoryProducer(), Cameras(*cameras)
        self.reporter = StatusReporter(self.producer, "p.status", self.cameras, interval_s)

    async def sent(self, count: int) -> list[tuple[str, CameraStatus | None]]:
        """All records, once there are `count` of them."""
        await eventually(lambda: len(self.producer.records) >= count, message=f"{count} records")
        return self.producer.records


@asynccontextmanager
async def reporting(*cameras: str, interval_s: float = 1_000) -> AsyncIterator[Reporting]:
    """A running reporter that has sent the first status of each camera."""
    found = Reporting(*cameras, interval_s=interval_s)
    running = asyncio.create_task(found.reporter.run())
    await found.sent(len(cameras))
    try:
        yield found
    finally:
        running.cancel()
        await asyncio.wait([running])


def after_ten_seconds(**changes: object) -> CameraStatus:
    now = replace(START, at_s=110.0, source_frames=300, published=50, last_frame_at_s=109.5)
    return status_of("till-1", START, replace(now, **changes), 0)  # type: ignore[arg-type]  # the names of StatsSnapshot


def test_an_open_source_without_drops_is_online() -> None:
    status = after_ten_seconds()
    assert (status.state, status.reason) == ("online", None)


def test_rates_are_over_the_time_since_the_last_status() -> None:
    status = after_ten_seconds()
    assert (status.source_fps, status.sent_fps, status.last_frame_age_s) == (30.0, 5.0, 0.5)


def test_a_closed_source_is_offline_with_the_reason() -> None:
    status = after_ten_seconds(closed_because="no frame for 5 s")
    assert (status.state, status.reason) == ("offline", "no frame for 5 s")


def test_new_drops_make_it_degraded_and_are_named() -> None:
    status = after_ten_seconds(drops={"overrun": 3, "too_large": 1})
    assert (status.state, status.reason) == ("degraded", "frames dropped: 3 overrun, 1 too_large")
    assert status.drops == {"overrun": 3, "too_large": 1}


def test_old_drops_are_reported_but_do_not_degrade() -> None:
    before = replace(START, drops={"overrun": 3})
    status = status_of("till-1", before, replace(before, at_s=110.0), 0)
    assert (status.state, status.drops) == ("online", {"overrun": 3})


def test_two_statuses_within_a_millisecond_give_no_absurd_rate() -> None:
    now = replace(START, at_s=100.001, source_frames=1, published=1)
    status = status_of("till-1", START, now, 0)
    assert (status.source_fps, status.sent_fps) == (1.0, 1.0)


def test_without_a_frame_there_is_no_age_of_the_last_frame() -> None:
    assert status_of("till-1", START, replace(START, at_s=110.0), 0).last_frame_age_s is None


def test_frames_that_wait_on_disk_make_it_degraded() -> None:
    status = after_ten_seconds(spooled_frames=120, spooled_bytes=4_800_000)
    assert (status.state, status.reason) == ("degraded", "120 frames wait on disk for Kafka")
    assert (status.spooled_frames, status.spooled_bytes) == (120, 4_800_000)


def test_a_stream_that_lags_is_degraded_and_a_little_lag_is_not() -> None:
    late = after_ten_seconds(lag_s=3.25)
    assert (late.state, late.reason, late.lag_s) == ("degraded", "the stream is 3.2 s behind its own clock", 3.25)
    assert after_ten_seconds(lag_s=0.25).state == "online"


def test_several_problems_are_all_named() -> None:
    reason = after_ten_seconds(drops={"overrun": 2}, spooled_frames=1, lag_s=9.0).reason
    assert reason is not None
    assert [part.split()[0] for part in reason.split("; ")] == ["frames", "1", "the"]


def test_still_frames_are_a_rate_and_no_problem() -> None:
    status = after_ten_seconds(captured=10, still=40)
    assert (status.state, status.captured_fps, status.still_fps) == ("online", 1.0, 4.0)


def test_clock_and_resolution_are_reported_and_no_lag_while_it_is_offline() -> None:
    status = after_ten_seconds(clock="rtcp", resolution=(1920, 1080), closed_because="no frame for 5 s")
    assert (status.clock, status.resolution, status.lag_s) == ("rtcp", (1920, 1080), None)


def test_since_is_kept_until_the_state_changes() -> None:
    first = status_of("till-1", START, START, 1_000_000)
    second = status_of("till-1", START, START, 2_000_000, previous=first)
    lost = status_of("till-1", START, replace(START, closed_because="ended"), 3_000_000, previous=second)
    assert (first.since, second.since, lost.since) == (first.at, first.at, lost.at)


async def test_every_change_of_a_source_is_reported_at_once_and_for_that_camera_only() -> None:
    async with reporting("till-1", "till-2") as service:
        service.cameras.stats["till-1"].opened((640, 480))
        await service.sent(3)
        service.cameras.stats["till-1"].closed("stream ended")
        await service.sent(4)
    assert [(status.camera, status.state, status.reason) for status in service.producer.statuses] == [
        ("till-1", "offline", "starting"),
        ("till-2", "offline", "starting"),
        ("till-1", "online", None),
        ("till-1", "offline", "stream ended"),
    ]


async def test_the_status_is_sent_at_each_interval_which_it_contains() -> None:
    async with reporting("till-1", interval_s=0.001) as service:
        await service.sent(4)
    assert {(status.camera, status.interval_s) for status in service.producer.statuses} == {("till-1", 0.001)}


async def test_while_kafka_is_unavailable_nothing_piles_up_and_then_the_newest_status_is_sent() -> None:
    async with reporting("till-1", "till-2") as service:
        service.producer.unavailable = True
        service.cameras.stats["till-1"].opened((640, 480))
        await service.sent(3)
        for number in range(50):
            service.cameras.stats["till-1"].closed(f"failure {number}")
            await asyncio.sleep(0)  # the reporter runs each time
        assert len(service.producer.records) == 3
        service.producer.recover()
        await service.sent(4)
    assert [status.reason for status in service.producer.statuses[2:]] == [None, "failure 49"]


async def test_an_added_camera_is_reported_at_once() -> None:
    async with reporting("till-1") as service:
        service.cameras.add("till-2")
        [_, (camera, status)] = await service.sent(2)
    assert camera == "till-2"
    assert status is not None


async def test_a_removed_camera_gets_a_tombstone_and_is_not_reported_any_more() -> None:
    async with reporting("till-1", "till-2") as service:
        service.cameras.remove("till-1")
        await service.sent(3)
        service.reporter.set_settings_error("a reason")
        await service.sent(4)
        await service.reporter.report_all()
    assert service.producer.records[2] == ("till-1", None)
    assert {camera for camera, _ in service.producer.records[3:]} == {"till-2"}


async def test_a_tombstone_that_was_not_sent_is_sent_again() -> None:
    async with reporting("till-1", interval_s=0.001) as service:
        service.producer.rejects = True
        service.cameras.remove("till-1")
        await asyncio.sleep(0)
        service.producer.rejects = False
        await eventually(lambda: ("till-1", None) in service.producer.records)


async def test_a_camera_that_is_added_again_while_its_tombstone_is_in_flight_stays() -> None:
    async with reporting("till-1") as service:
        service.producer.unavailable = True
        service.cameras.remove("till-1")
        await service.sent(2)
        service.cameras.add("till-1")
        service.producer.recover()
        await service.sent(3)
        await service.reporter.report_all()
    assert [status is None for _, status in service.producer.records] == [False, True, False, False]


async def test_refused_settings_are_shown_in_every_status_until_they_are_corrected() -> None:
    async with reporting("till-1", "till-2") as service:
        service.reporter.set_settings_error("edge.fps: input should be greater than 0")
        await service.sent(4)
        service.reporter.set_settings_error(None)
        await service.sent(6)
    errors = [status.settings_error for status in service.producer.statuses]
    assert errors == [None] * 2 + ["edge.fps: input should be greater than 0"] * 2 + [None] * 2


async def test_the_last_status_follows_the_one_in_flight() -> None:
    service = Reporting("till-1", interval_s=1_000)
    service.producer.unavailable = True
    running = asyncio.create_task(service.reporter.run())
    await service.sent(1)
    running.cancel()
    service.cameras.stats["till-1"].closed("stopped")
    asyncio.get_running_loop().call_soon(service.producer.recover)
    await service.reporter.report_all(deadline_s=30)
    assert [status.reason for status in service.producer.statuses] == ["starting", "stopped"]


async def test_the_last_status_does_not_wait_for_ever() -> None:
    service = Reporting("till-1", interval_s=1_000)
    service.producer.unavailable = True
    await service.reporter.report_all(deadline_s=0.01)
    assert len(service.producer.records) == 1


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "close", "add", "remove", "fail", "recover"]), st.sampled_from("ab"), st.booleans()
        ),
        max_size=30,
    )
)
@example([("fail", "a", False), ("remove", "a", False), ("add", "a", False)])
def test_whatever_happens_the_topic_ends_with_the_last_state_of_each_camera(steps: list[tuple[str, str, bool]]) -> None:
    asyncio.run(_run_steps(steps))


async def _run_steps(steps: list[tuple[str, str, bool]]) -> None:
    service = Reporting("a")
    cameras, producer = service.cameras, service.producer
    running = asyncio.create_task(service.reporter.run())
    for number, (step, camera, at_once) in enumerate(steps):
        if step == "open" and camera in cameras.stats:
            cameras.stats[camera].opened((640, 480))
        elif step == "close" and camera in cameras.stats:
            cameras.stats[camera].closed(f"reason {number}")
        elif step == "add" and camera not in cameras.stats:
            cameras.add(camera)
        elif step == "remove" and camera in cameras.stats:
            cameras.remove(camera)
        elif step in {"fail", "recover"}:
            producer.recover()
            producer.unavailable = step == "fail"
        for _ in range(0 if at_once else 5):
            await asyncio.sleep(0)  # lets the reporter run
        in_flight = Counter(name for name, future in producer.in_flight if not future.done())
        assert max(in_flight.values(), default=0) <= 1
    running.cancel()
    await asyncio.wait([running])
    producer.recover()
    await service.reporter.report_all(deadline_s=30)
    last = dict(producer.records)  # the last of each key, as compaction leaves it
    assert {name for name, status in last.items() if status is not None} == set(cameras.stats)
    for name, stats in cameras.stats.items():
        status = last[name]
        assert status is not None
        assert status.reason == stats.snapshot().closed_because


@pytest.mark.parametrize("error", [KafkaTimeoutError("late"), KafkaUnavailableError("gone")])
async def test_a_status_that_failed_does_not_stop_the_reporter(error: Exception) -> None:
    async with reporting("till-1") as service:
        service.producer.unavailable = True
        service.cameras.stats["till-1"].opened((640, 480))
        await service.sent(2)
        service.producer.in_flight.pop()[1].set_exception(error)
        service.producer.unavailable = False
        service.cameras.stats["till-1"].closed("stream ended")
        await service.sent(3)
    assert service.producer.statuses[-1].reason == "stream ended"


async def test_a_status_says_which_edge_sends_it_and_which_wanted_settings_are_in_force() -> None:
    producer, cameras = MemoryProducer(), Cameras("till-1", "own")
    reporter = StatusReporter(producer, "p.status", cameras, 1_000, edge="shop-1")
    refused = RefusedSettings(4, "fps: too small", "see the page")
    reporter.set_wanted(Wanted(generations={"till-1": 3}, refused={"till-1": refused}))
    await reporter.report_all()
    by_camera = {status.camera: status for status in producer.statuses}
    assert {status.edge for status in by_camera.values()} == {"shop-1"}
    assert (by_camera["till-1"].generation, by_camera["till-1"].refused) == (3, refused)
    assert (by_camera["own"].generation, by_camera["own"].refused) == (None, None)


async def test_a_wanted_camera_that_never_ran_has_a_status_until_it_is_not_wanted_any_more() -> None:
    async with reporting("own") as service:
        refused = RefusedSettings(4, "not allowed", "allow it")
        service.reporter.set_wanted(Wanted(refused={"till-1": refused}))
        await service.sent(3)
        [status] = [one for one in service.producer.statuses if one.camera == "till-1"]
        assert (status.state, status.reason, status.refused) == ("offline", "refused: not allowed", refused)
        service.reporter.set_wanted(Wanted())
        await service.sent(5)
    assert ("till-1", None) in service.producer.records


async def test_a_refused_camera_that_is_corrected_has_the_status_of_the_running_one() -> None:
    async with reporting() as service:
        service.reporter.set_wanted(Wanted(refused={"till-1": RefusedSettings(4, "not allowed", "allow it")}))
        await service.sent(1)
        service.cameras.add("till-1")
        service.reporter.set_wanted(Wanted(generations={"till-1": 5}))
        await eventually(lambda: service.producer.statuses[-1].generation == 5)
    last = service.producer.statuses[-1]
    assert (last.reason, last.refused) == ("starting", None)
