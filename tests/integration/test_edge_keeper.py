"""The keeper of a camera with real processes: frames arrive, and a process that hangs, dies or fails is replaced."""

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from multiprocessing.context import ForkServerProcess

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from edge.cameras import Camera
from edge.keeper import Keeper
from edge.link.area import SharedArea
from edge.meter import CameraMeter, Reading
from edge.metrics import EdgeMetrics
from edge.outgoing import Outgoing
from edge.processes import CameraProcesses, Work
from edge.sources import Source
from edge.worker.run import Assignment
from framematch.core.settings import EdgeSettings
from tests.integration import camera_work
from tests.integration.edge_service import command_line, process_tree
from tests.support import eventually

pytestmark = pytest.mark.integration

LIVE = Source("stream", "rtsp://user:hunter2@127.0.0.1/x")
FINITE = Source("file", "video.mp4")


class Kept:
    """A camera under a keeper, and what came of it."""

    def __init__(self, keeper_frames: list[Outgoing], meter: CameraMeter, task: asyncio.Task[None]) -> None:
        self.frames = keeper_frames
        self.task = task
        self._meter = meter

    def reading(self) -> Reading:
        return self._meter.read()

    def sequences(self) -> list[int]:
        return [outgoing.frame.sequence for outgoing in self.frames]


@asynccontextmanager
async def kept(
    work: Work,
    source: Source = LIVE,
    *,
    watchdog_s: float = 20.0,
    make: Callable[[Work], CameraProcesses] = CameraProcesses,
) -> AsyncIterator[Kept]:
    frames: list[Outgoing] = []

    async def sink(outgoing: Outgoing) -> None:
        frames.append(outgoing)

    settings = EdgeSettings(watchdog_s=watchdog_s, backoff_initial_s=0.01, backoff_max_s=0.01)
    meter = CameraMeter("till-1", EdgeMetrics(CollectorRegistry()).of("till-1"), lambda: None)
    camera = Camera("till-1", source, 5.0, 640, 85)
    with make(work) as processes:
        keeper = Keeper(camera, settings, meter, processes, sink, jpeg_bytes_max=10_000)
        task = asyncio.create_task(keeper.run())
        try:
            yield Kept(frames, meter, task)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_frames_come_in_order_with_all_that_their_process_said() -> None:
    async with kept(camera_work.three_frames, FINITE) as camera:
        await camera.task
        assert [outgoing.jpeg for outgoing in camera.frames] == [b"jpeg 0", b"jpeg 1", b"jpeg 2"]
        frame = camera.frames[0].frame
        assert (frame.camera, frame.captured_at_us, frame.grabbed_at_us) == ("till-1", 1_000, 2_000)
        assert (frame.clock, frame.regions) == ("rtp", ((1, 2, 3, 4),))
        reading = camera.reading()
        assert (reading.closed_because, reading.captured, reading.drops) == ("ended", 3, {})
        assert (reading.resolution, reading.clock) == ((64, 48), "rtp")


async def test_a_stream_that_breaks_off_is_opened_again_and_its_numbers_go_on() -> None:
    async with kept(camera_work.one_frame_and_failure) as camera:
        await eventually(lambda: len(camera.frames) >= 3)
        assert camera.sequences()[:3] == [0, 1, 2]
        assert camera.reading().reconnects >= 2


async def test_a_finite_source_that_fails_is_not_tried_again() -> None:
    async with kept(camera_work.one_frame_and_failure, FINITE) as camera:
        await camera.task
        assert camera.sequences() == [0]
        assert camera.reading().closed_because == "stream ended"


async def test_a_process_that_hangs_is_killed_and_replaced() -> None:
    async with kept(camera_work.one_frame_and_silence, watchdog_s=0.3) as camera:
        await eventually(lambda: len(camera.frames) >= 2)
        assert camera.sequences()[:2] == [0, 1]


async def test_a_hang_is_given_as_the_reason() -> None:
    async with kept(camera_work.one_frame_and_silence, watchdog_s=0.3) as camera:
        await eventually(lambda: camera.reading().closed_because == "no new frame for 0.3 s: its process was killed")


async def test_what_goes_down_with_a_process_is_counted_and_the_next_one_takes_over() -> None:
    async with kept(camera_work.death_with_a_frame_in_hand) as camera:
        await eventually(lambda: len(camera.frames) >= 2)
        assert camera.sequences()[:2] == [0, 2]
        await eventually(lambda: camera.reading().drops.get("process_died", 0) >= 2)
        assert camera.reading().closed_because in (None, "its process died (SIGKILL)")


async def test_a_defect_in_a_process_is_no_end_for_the_camera() -> None:
    async with kept(camera_work.defect) as camera:
        await eventually(lambda: camera.reading().reconnects >= 2)
        await eventually(lambda: "a defect" in (camera.reading().closed_because or ""))


async def test_a_camera_that_is_stopped_has_accounted_for_every_frame() -> None:
    async with kept(camera_work.endless) as camera:
        await eventually(lambda: len(camera.frames) >= 20)
    reading = camera.reading()
    assert reading.closed_because == "stopped"
    assert reading.captured == len(camera.frames) + sum(reading.drops.values())
    assert set(reading.drops) <= {"stopped"}


async def test_a_process_that_hangs_does_not_outlive_its_keeper() -> None:
    async with kept(camera_work.one_frame_and_silence) as camera:
        await eventually(lambda: len(camera.frames) == 1)
    assert not camera_processes()


async def test_a_camera_that_is_told_twice_to_stop_leaves_no_process_and_accounts_for_every_frame() -> None:
    async with kept(camera_work.one_frame_and_silence) as camera:
        await eventually(lambda: len(camera.frames) == 1)
        for _ in range(3):
            camera.task.cancel()
            await asyncio.sleep(0)  # to the next step of its leave-taking
        with suppress(asyncio.CancelledError):
            await camera.task
        assert not camera_processes()
    assert camera.reading().captured == 1


async def test_cameras_go_on_when_what_forks_their_processes_was_killed() -> None:
    async with kept(camera_work.one_frame_and_failure) as camera:
        await eventually(lambda: len(camera.frames) >= 1)
        for server in fork_servers():
            os.kill(server, signal.SIGKILL)
        seen = len(camera.frames)
        await eventually(lambda: len(camera.frames) >= seen + 3)


class FullMachine(CameraProcesses):
    """On which there is room for another process only at the third try."""

    tries = 0

    async def start(self, line: socket.socket, area: SharedArea, assignment: Assignment) -> ForkServerProcess:
        self.tries += 1
        if self.tries < 3:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await super().start(line, area, assignment)


async def test_a_camera_whose_process_cannot_be_started_is_tried_again() -> None:
    with capture_logs() as log:
        async with kept(camera_work.endless, make=FullMachine) as camera:
            await eventually(lambda: len(camera.frames) >= 2)
    reasons = [line["reason"] for line in log if line["event"] == "camera_failed"]
    assert reasons == ["its process cannot be started: Resource temporarily unavailable"] * 2


def fork_servers() -> list[int]:
    return [pid for pid in process_tree(os.getpid()) if "forkserver" in command_line(pid)]


def camera_processes() -> list[int]:
    """Living processes that this one's forkserver has forked."""
    servers = fork_servers()
    return [pid for server in servers for pid in process_tree(server) if pid != server]
