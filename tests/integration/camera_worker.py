"""One camera's own process, as the service starts it, for tests of its messages and counts."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge.cameras import Camera
from edge.link.channel import ServiceChannel
from edge.link.messages import FrameReady, Message, Opened
from edge.link.shared_buffer import Counts, SharedBuffer
from edge.processes import CameraProcesses
from edge.sources import parse_source
from edge.worker.run import WorkerConfig
from tests.support import eventually

_PATIENCE_S = 60


@dataclass
class Worker:
    """A running process and the service's end of the channel to it."""

    process: ForkServerProcess
    channel: ServiceChannel
    buffer: SharedBuffer

    async def message(self) -> Message | None:
        """The next message; None when the process is gone."""
        return await asyncio.wait_for(self.channel.receive(), _PATIENCE_S)

    async def opened(self) -> Opened:
        """The message that the source is open, before any request."""
        message = await self.message()
        assert isinstance(message, Opened), message
        return message

    async def frame(self) -> tuple[FrameReady, tuple[int, int]]:
        """Request the next frame; returns it with the width and height of its JPEG."""
        self.channel.request()
        while isinstance(message := await self.message(), Opened):
            pass
        assert isinstance(message, FrameReady), message
        picture = cv2.imdecode(np.frombuffer(self.channel.jpeg(message), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return message, (picture.shape[1], picture.shape[0])

    async def last_message(self) -> Message | None:
        """Request all frames and return the message about the end."""
        self.channel.request()
        while isinstance(message := await self.message(), Opened | FrameReady):
            if isinstance(message, FrameReady):
                self.channel.request()
        return message

    def counts(self) -> Counts:
        return self.buffer.counts()

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def command_line(self) -> str:
        """What the process list shows."""
        return Path(f"/proc/{self.process.pid}/cmdline").read_text(encoding="utf-8").rstrip("\0 ")

    async def ended(self) -> None:
        """Return when the process has ended."""
        await eventually(lambda: not self.process.is_alive(), timeout_s=_PATIENCE_S, message="the process ended")


@asynccontextmanager
async def camera_worker(
    source: str,
    *,
    fps: float = 25.0,
    rtsp_transport: Literal["tcp", "udp"] = "tcp",
    key_frames_only: bool = False,
    open_timeout_s: float = 20.0,
    read_timeout_s: float = 20.0,
    allowed_hosts: tuple[str, ...] = (),
) -> AsyncIterator[Worker]:
    """A process that plays `source`; killed at the end if it still runs."""
    camera = Camera(
        "till-1",
        parse_source(source),
        fps=fps,
        max_side=640,
        jpeg_quality=85,
        rtsp_transport=rtsp_transport,
        key_frames_only=key_frames_only,
        allowed_hosts=allowed_hosts,
    )
    config = WorkerConfig(camera, open_timeout_s, read_timeout_s, 5.0)
    buffer = SharedBuffer.create(1_000_000)
    try:
        with CameraProcesses() as processes, ServiceChannel(buffer) as channel:
            process = await processes.start(channel.peer, buffer, config)
            channel.peer.close()
            try:
                yield Worker(process, channel, buffer)
            finally:
                await processes.end(process)
    finally:
        buffer.close()
