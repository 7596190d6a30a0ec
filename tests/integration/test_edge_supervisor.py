"""A camera's supervisor with real processes: frames arrive, and a process that hangs, dies or fails is replaced."""

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
from edge.link.channel import ServiceChannel
from edge.link.shared_buffer import SharedBuffer
from edge.metrics import EdgeMetrics
from edge.processes import CameraProcesses, WorkerMain
from edge.sinks import Outgoing
from edge.snapshot import StatsSnapshot
from edge.sources import Source
from edge.stats import CameraStats
from edge.supervisor import CameraSupervisor
from edge.worker.run import WorkerConfig
from framematch.core.settings import EdgeSettings
from tests.integration import camera_programs
from tests.integration.edge_service import command_line, process_tree
from tests.support import eventually

pytestmark = pytest.mark.integration

LIVE = Source("stream", "rtsp://user:hunter2@127.0.0.1/x")
FINITE = Source("file", "video.mp4")


class FrameList:
    """A sink that keeps all frames."""

    spooled_frames = spooled_bytes = 0

    def __init__(self) -> None:
        self.frames: list[Outgoing] = []

    async def put(self, outgoing: Outgoing) -> None:
        self.frames.append(outgoing)

    async def drained(self) -> None:
        """No frame waits here."""


class Supervised:
    """A camera with its supervisor, its frames and its statistics."""

    def __init__(self, frames: list[Outgoing], stats: CameraStats, task: asyncio.Task[None]) -> None:
        self.frames = frames
        self.task = task
        self._stats = stats

    def snapshot(self) -> StatsSnapshot:
        return self._stats.snapshot()

    def sequences(self) -> list[int]:
        return [outgoing.frame.sequence for outgoing in self.frames]


@asynccontextmanager
async def supervised(
    main: WorkerMain,
    source: Source = LIVE,
    *,
    watchdog_s: float = 20.0,
    make: Callable[[WorkerMain], CameraProcesses] = CameraProcesses,
) -> AsyncIterator[Supervised]:
    sink = FrameList()
    settings = EdgeSettings(watchdog_s=watchdog_s, backoff_initial_s=0.01, backoff_max_s=0.01)
    stats = CameraStats("till-1", EdgeMetrics(CollectorRegistry()).of("till-1"), lambda: None)
    camera = Camera("till-1", source, 5.0, 640, 85)
    with make(main) as processes:
        supervisor = CameraSupervisor(camera, settings, stats, processes, sink, jpeg_bytes_max=10_000)
        task = asyncio.create_task(supervisor.run())
        try:
            yield Supervised(sink.frames, stats, task)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_frames_arrive_in_order_with_the_values_of_their_process() -> None:
    async with supervised(camera_programs.three_frames, FINITE) as camera:
        await camera.task
        assert [outgoing.jpeg for outgoing in camera.frames] == [b"jpeg 0", b"jpeg 1", b"jpeg 2"]
        frame = camera.frames[0].frame
        assert (frame.camera, frame.captured_at_us, frame.grabbed_at_us) == ("till-1", 1_000, 2_000)
        assert (frame.clock, frame.regions) == ("rtp", ((1, 2, 3, 4),))
        snapshot = camera.snapshot()
        assert (snapshot.closed_because, snapshot.captured, snapshot.drops) == ("ended", 3, {})
        assert (snapshot.resolution, snapshot.clock) == ((64, 48), "rtp")


async def test_a_stream_that_breaks_off_is_opened_again_and_its_sequence_goes_on() -> None:
    async with supervised(camera_programs.one_frame_and_failure) as camera:
        await eventually(lambda: len(camera.frames) >= 3)
        assert camera.sequences()[:3] == [0, 1, 2]
        assert camera.snapshot().reconnects >= 2


async def test_a_finite_source_that_fails_is_not_retried() -> None:
    async with supervised(camera_programs.one_frame_and_failure, FINITE) as camera:
        await camera.task
        assert camera.sequences() == [0]
        assert camera.snapshot().closed_because == "stream ended"


async def test_a_process_that_hangs_is_killed_and_replaced() -> None:
    async with supervised(camera_programs.one_frame_and_silence, watchdog_s=0.3) as camera:
        await eventually(lambda: len(camera.frames) >= 2)
        assert camera.sequences()[:2] == [0, 1]


async def test_a_process_that_gives_signs_of_life_does_not_hang() -> None:
    async with supervised(camera_programs.long_between_frames, watchdog_s=0.6) as camera:
        await eventually(lambda: len(camera.frames) >= 3)
        assert (camera.snapshot().reconnects, camera.snapshot().closed_because) == (0, None)


async def test_a_hang_is_reported_as_the_reason() -> None:
    async with supervised(camera_programs.one_frame_and_silence, watchdog_s=0.3) as camera:
        await eventually(lambda: camera.snapshot().closed_because == "no new frame for 0.3 s: its process was killed")


async def test_frames_lost_with_a_process_are_counted_and_the_next_process_goes_on() -> None:
    async with supervised(camera_programs.death_with_a_frame_in_memory) as camera:
        await eventually(lambda: len(camera.frames) >= 2)
        assert camera.sequences()[:2] == [0, 2]
        await eventually(lambda: camera.snapshot().drops.get("process_died", 0) >= 2)
        assert camera.snapshot().closed_because in (None, "its process died (SIGKILL)")


async def test_a_camera_is_restarted_after_a_defect_in_its_process() -> None:
    async with supervised(camera_programs.defect) as camera:
        await eventually(lambda: camera.snapshot().reconnects >= 2)
        await eventually(lambda: "a defect" in (camera.snapshot().closed_because or ""))


async def test_a_stopped_camera_has_counted_every_frame() -> None:
    async with supervised(camera_programs.endless) as camera:
        await eventually(lambda: len(camera.frames) >= 20)
    snapshot = camera.snapshot()
    assert snapshot.closed_because == "stopped"
    assert snapshot.captured == len(camera.frames) + sum(snapshot.drops.values())
    assert set(snapshot.drops) <= {"stopped"}


async def test_a_process_that_hangs_does_not_outlive_its_supervisor() -> None:
    async with supervised(camera_programs.one_frame_and_silence) as camera:
        await eventually(lambda: len(camera.frames) == 1)
    assert not camera_processes()


async def test_a_camera_that_is_cancelled_repeatedly_leaves_no_process_and_counts_every_frame() -> None:
    async with supervised(camera_programs.one_frame_and_silence) as camera:
        await eventually(lambda: len(camera.frames) == 1)
        for _ in range(3):
            camera.task.cancel()
            await asyncio.sleep(0)  # to the next step of its shutdown
        with suppress(asyncio.CancelledError):
            await camera.task
        assert not camera_processes()
    assert camera.snapshot().captured == 1


async def test_cameras_go_on_after_the_forkserver_was_killed() -> None:
    async with supervised(camera_programs.one_frame_and_failure) as camera:
        await eventually(lambda: len(camera.frames) >= 1)
        for server in fork_servers():
            os.kill(server, signal.SIGKILL)
        seen = len(camera.frames)
        await eventually(lambda: len(camera.frames) >= seen + 3)


async def test_a_process_that_is_slow_to_end_holds_up_no_other() -> None:
    buffer, config = SharedBuffer.create(10_000), WorkerConfig(Camera("a", LIVE, 5.0, 640, 85), 5.0, 5.0, 5.0)
    with (
        CameraProcesses(camera_programs.one_frame_and_silence) as processes,
        ServiceChannel(buffer) as slow,
        ServiceChannel(buffer) as other,
    ):
        hanging = await processes.start(slow.peer, buffer, config)
        ending = asyncio.create_task(processes.end(hanging, wait_s=300.0))
        await asyncio.sleep(0)
        quick = await asyncio.wait_for(processes.start(other.peer, buffer, config), 60)
        assert not ending.done()
        assert await processes.end(quick) is None
        os.kill(hanging.pid or 0, signal.SIGKILL)
        assert await ending == "SIGKILL"
    buffer.close()


async def test_collecting_garbage_touches_nothing_that_a_process_shares_with_others() -> None:
    async with supervised(camera_programs.shared_objects) as camera:
        await eventually(lambda: camera.snapshot().failed)
        assert int(camera.snapshot().closed_because or 0) > 10_000


class FullMachine(CameraProcesses):
    """A machine that can start another process only at the third attempt."""

    attempts = 0

    async def start(self, peer: socket.socket, buffer: SharedBuffer, config: WorkerConfig) -> ForkServerProcess:
        self.attempts += 1
        if self.attempts < 3:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await super().start(peer, buffer, config)


async def test_a_camera_whose_process_cannot_be_started_is_retried() -> None:
    with capture_logs() as log:
        async with supervised(camera_programs.endless, make=FullMachine) as camera:
            await eventually(lambda: len(camera.frames) >= 2)
    reasons = [line["reason"] for line in log if line["event"] == "camera_failed"]
    assert reasons == ["its process cannot be started: Resource temporarily unavailable"] * 2


def fork_servers() -> list[int]:
    # pytest-xdist shows the running test's name as the command line of this process.
    own = os.getpid()
    return [pid for pid in process_tree(own) if pid != own and "forkserver" in command_line(pid)]


def camera_processes() -> list[int]:
    """Living processes that this one's forkserver has forked."""
    servers = fork_servers()
    return [pid for server in servers for pid in process_tree(server) if pid != server]
