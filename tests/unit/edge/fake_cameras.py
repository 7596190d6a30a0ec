"""Stand-ins for camera processes and sinks, so that cameras can be managed without processes and without Kafka."""

import asyncio
import socket
from multiprocessing.context import ForkServerProcess
from typing import Any, cast

from edge.cameras import Camera
from edge.link.channel import WorkerChannel
from edge.link.messages import DecoderChanged, Ended, Failed, FrameReady, Opened, PictureLeftOut
from edge.link.shared_buffer import Count, SharedBuffer
from edge.processes import CameraProcesses
from edge.sinks import Outgoing
from edge.sources import Source
from edge.stats import CameraStats
from edge.worker.run import WorkerConfig


def camera(name: str, fps: float = 5.0, *, live: bool = True) -> Camera:
    source = Source("stream", f"rtsp://127.0.0.1/{name}") if live else Source("file", f"{name}.mp4")
    return Camera(name, source, fps, 640, 85)


class FakeProcess:
    """The worker's end of the channel. Like a process, it ends when the service shuts the channel down."""

    def __init__(self, peer: socket.socket, buffer: SharedBuffer, config: WorkerConfig) -> None:
        self.config = config
        self.camera = config.camera
        self.buffer = buffer
        self._peer = peer.dup()
        self._peer.setblocking(False)
        self._channel = WorkerChannel(self._peer, buffer)
        self._task = asyncio.get_running_loop().create_task(self._run())
        self.shut_down = False

    async def _run(self) -> None:
        with self._peer:
            while await asyncio.get_running_loop().sock_recv(self._peer, 1):
                pass
            self.shut_down = True

    def send_frame(self) -> None:
        """Capture a frame and deliver it."""
        sequence = self.buffer.add(Count.CAPTURED)
        self._channel.send_frame(FrameReady(4, sequence, 1_000 + sequence, 2_000, 1.0, 1.0, "rtp"), b"jpeg")

    def drop_frame(self, count: Count) -> None:
        """Capture a frame and drop it."""
        self.buffer.add(Count.CAPTURED)
        self.buffer.add(count)

    def open(self, decoder: str = "software", reason: str | None = None) -> None:
        self._channel.send(Opened(64, 48, decoder, reason))

    def change_decoder(self, decoder: str, reason: str) -> None:
        """Report that hardware failed."""
        self._channel.send(DecoderChanged(decoder, reason))

    def leave_out(self, reason: str) -> None:
        """Report a picture that is not usable."""
        self._channel.send(PictureLeftOut(reason))

    def end(self) -> None:
        """Report the end of the source."""
        self._channel.send(Ended())

    def fail(self, reason: str) -> None:
        """Report that the source failed."""
        self._channel.send(Failed(reason))

    async def join(self) -> None:
        await self._task


class FakeProcesses:
    """Starts fake processes and remembers them."""

    def __init__(self) -> None:
        self.started: list[FakeProcess] = []

    def as_processes(self) -> CameraProcesses:
        return cast("CameraProcesses", cast("Any", self))

    async def start(self, peer: socket.socket, buffer: SharedBuffer, config: WorkerConfig) -> FakeProcess:
        self.started.append(FakeProcess(peer, buffer, config))
        return self.started[-1]

    async def end(self, process: ForkServerProcess, *, wait_s: float = 0.0) -> None:
        del wait_s
        await cast("FakeProcess", cast("Any", process)).join()

    def names(self) -> list[str]:
        """The cameras of all processes, in the order of their starts."""
        return [process.camera.id for process in self.started]

    def stopped(self) -> list[bool]:
        """For each of them, whether the service shut it down."""
        return [process.shut_down for process in self.started]


class FakeSink:
    """Keeps frames. `put` waits while it is not `writable`, and `drained` until `spool(0)`."""

    def __init__(self, stats: CameraStats | None = None) -> None:
        self.stats = stats
        self.frames: list[Outgoing] = []
        self.live = True
        self.spooled_frames = 0
        self.writable = asyncio.Event()
        self.writable.set()
        self.empty = asyncio.Event()
        self.empty.set()

    @property
    def spooled_bytes(self) -> int:
        return 10 * self.spooled_frames

    def spool(self, frames: int) -> None:
        self.spooled_frames = frames
        if frames:
            self.empty.clear()
        else:
            self.empty.set()

    async def put(self, outgoing: Outgoing) -> None:
        """A live camera's frame is taken even if the task is cancelled meanwhile, another one is not."""
        task, cancelled = asyncio.current_task(), False
        while not self.writable.is_set():
            try:
                await self.writable.wait()
            except asyncio.CancelledError:
                cancelled = True
                if not self.live:
                    raise
        self.frames.append(outgoing)
        if self.stats is not None and not self.spooled_frames:
            self.stats.published(len(outgoing.jpeg), 0.0)
        if task is not None and cancelled:
            asyncio.get_running_loop().call_soon(task.cancel)

    async def drained(self) -> None:
        await self.empty.wait()


class FakeSinks:
    """The sinks of all cameras."""

    def __init__(self) -> None:
        self.sinks: dict[str, FakeSink] = {}
        self.removed: list[str] = []

    def outbox(self, camera: str, stats: CameraStats, /, *, live: bool) -> FakeSink:
        self.sinks.setdefault(camera, FakeSink(stats)).live = live
        return self.sinks[camera]

    async def remove(self, camera: str) -> None:
        self.removed.append(camera)
        del self.sinks[camera]
