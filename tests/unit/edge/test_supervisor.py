"""The supervisor of a camera that is stopped while its sink takes a frame: the frame is counted once."""

import asyncio
from contextlib import suppress

import pytest
import structlog
from prometheus_client import CollectorRegistry

from edge.metrics import EdgeMetrics
from edge.snapshot import StatsSnapshot
from edge.stats import CameraStats
from edge.supervisor import CameraSupervisor
from framematch.core.settings import EdgeSettings
from tests.support import eventually
from tests.unit.edge.fake_cameras import FakeProcesses, FakeSink, camera


async def stopped_while_putting(sink: FakeSink, cancellations: int) -> StatsSnapshot:
    """The statistics of a camera that was cancelled while its sink could not finish `put`, which it can afterwards."""
    processes = FakeProcesses()
    stats = CameraStats("a", EdgeMetrics(CollectorRegistry()).of("a"), lambda: None)
    supervisor = CameraSupervisor(
        camera("a"), EdgeSettings(), stats, processes.as_processes(), sink, jpeg_bytes_max=1_000
    )
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: processes.started)
    sink.writable.clear()
    processes.started[0].send_frame()
    await asyncio.sleep(0.01)
    for _ in range(cancellations):
        task.cancel()
        await asyncio.sleep(0)
    sink.writable.set()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    return stats.snapshot()


@pytest.mark.parametrize("cancellations", [1, 3])
async def test_a_frame_that_is_being_spooled_when_the_camera_is_stopped_is_not_dropped(cancellations: int) -> None:
    sink = FakeSink()
    found = await stopped_while_putting(sink, cancellations)
    assert (found.closed_because, found.captured, len(sink.frames), found.drops) == ("stopped", 1, 1, {})


async def test_a_frame_that_the_sink_did_not_take_before_the_stop_is_dropped() -> None:
    sink = FakeSink()
    sink.live = False
    found = await stopped_while_putting(sink, 1)
    assert (found.captured, len(sink.frames), found.drops) == (1, 0, {"stopped": 1})


async def test_a_picture_that_is_left_out_is_logged_and_the_next_is_sent() -> None:
    processes, sink = FakeProcesses(), FakeSink()
    stats = CameraStats("a", EdgeMetrics(CollectorRegistry()).of("a"), lambda: None)
    folder = camera("a", live=False)
    supervisor = CameraSupervisor(folder, EdgeSettings(), stats, processes.as_processes(), sink, jpeg_bytes_max=1_000)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(supervisor.run())
        await eventually(lambda: processes.started)
        processes.started[0].leave_out("a.jpg is damaged")
        processes.started[0].send_frame()
        await eventually(lambda: sink.frames)
        processes.started[0].end()
        await asyncio.wait_for(task, 30)
    assert {"event": "picture_left_out", "log_level": "warning", "camera": "a", "reason": "a.jpg is damaged"} in logs
