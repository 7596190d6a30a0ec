"""A camera's state and rates, from two readings of its account."""

import asyncio
from dataclasses import replace

from prometheus_client import CollectorRegistry

from edge.meter import CameraMeter, Reading
from edge.metrics import EdgeMetrics
from edge.outbox.producer import Acknowledgement, Record
from edge.status import StatusReporter, status_of
from framematch.core.events import CameraStatus, decode
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
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.statuses: list[CameraStatus] = []

    async def send(self, topic: str, record: Record) -> Acknowledgement:
        assert topic == "p.status"
        status = decode(record["value"], CameraStatus)
        assert record["key"] == status.camera.encode()
        self.statuses.append(status)
        return asyncio.get_running_loop().create_future()


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
    assert (status.state, status.reason) == ("degraded", "dropped: overrun, too_large")
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


async def test_every_change_of_a_source_is_told_at_once_and_for_that_camera_alone() -> None:
    producer, changed = MemoryProducer(), asyncio.Event()
    metrics = EdgeMetrics(CollectorRegistry())
    one, other = (CameraMeter(name, metrics, changed.set) for name in ("till-1", "till-2"))
    reporter = StatusReporter(producer, "p.status", [one, other], changed, interval_s=1_000)
    running = asyncio.create_task(reporter.run())

    await eventually(lambda: len(producer.statuses) >= 2)
    one.opened()
    await eventually(lambda: len(producer.statuses) >= 3)
    one.closed("stream ended")
    await eventually(lambda: len(producer.statuses) >= 4)
    running.cancel()
    assert [(status.camera, status.state, status.reason) for status in producer.statuses] == [
        ("till-1", "offline", "starting"),
        ("till-2", "offline", "starting"),
        ("till-1", "online", None),
        ("till-1", "offline", "stream ended"),
    ]


async def test_the_status_is_sent_again_after_each_interval() -> None:
    producer, changed = MemoryProducer(), asyncio.Event()
    meter = CameraMeter("till-1", EdgeMetrics(CollectorRegistry()), changed.set)
    running = asyncio.create_task(StatusReporter(producer, "p.status", [meter], changed, interval_s=0.001).run())

    await eventually(lambda: len(producer.statuses) >= 4)
    running.cancel()
    assert {status.camera for status in producer.statuses} == {"till-1"}
