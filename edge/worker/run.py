"""A camera's own process: one thread reads the source, the main thread encodes the frames that the service requests."""

import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.resource_sharer import DupFd
from pathlib import Path

import cv2
from setproctitle import setproctitle

from edge.cameras import Camera
from edge.link.channel import WorkerChannel
from edge.link.messages import FrameReady, Message
from edge.link.shared_buffer import Count, SharedBuffer
from edge.worker.capture import Capture, CapturedFrame, crash_of
from edge.worker.gate import Gate
from edge.worker.prepare import prepare
from edge.worker.readers import open_reader
from edge.worker.slot import NewestFrameSlot

_CLOSE_S = 0.5  # for the capture thread to end its session with the camera
# Where all cameras together want more than the machine has, the service, which sends their frames, must not wait behind
# a hundred of them: they then drop frames (`overrun`), and those that are encoded reach Kafka.
_NICENESS = 10
# Where memory runs out, the kernel kills a camera, which is started again. The service is larger than a small camera.
_OOM_SCORE_ADJ = 500


@dataclass(frozen=True)
class WorkerConfig:
    """The source that a camera's process plays once, or for ever if it is finite and `repeat` is set."""

    camera: Camera
    open_timeout_s: float
    read_timeout_s: float
    max_lag_s: float
    repeat: bool = False


def run_worker(peer: socket.socket, buffer: DupFd, config: WorkerConfig) -> None:
    """Answer requests on `peer` until the source has ended or failed, or the service is gone.

    The last message tells how the source ended; there is none when the service shut the channel down or is gone. To be
    run in a process of its own, which it ends if the capture thread hangs in a library.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the service, which shuts its workers down
    setproctitle(f"framematch camera {config.camera.id}")
    os.nice(_NICENESS)
    with suppress(OSError):  # a sandbox without /proc
        score = Path("/proc/self/oom_score_adj")
        score.write_text(str(min(1000, int(score.read_text()) + _OOM_SCORE_ADJ)), encoding="ascii")
    # Cameras share the cores: threads within one resize or conversion only add overhead.
    cv2.setNumThreads(1)
    shared = SharedBuffer(buffer.detach())
    worker = Worker(peer, shared, config)
    last_message = worker.serve()
    if last_message is not None:
        WorkerChannel(peer, shared).send(last_message)
    peer.close()
    if not worker.stop():
        os._exit(0)


class Worker:
    """The main thread's part: waits for requests and for frames at the same time."""

    def __init__(self, peer: socket.socket, buffer: SharedBuffer, config: WorkerConfig) -> None:
        self._peer = peer
        self._channel = WorkerChannel(peer, buffer)
        self._buffer = buffer
        self._camera = camera = config.camera
        self._slot: NewestFrameSlot[CapturedFrame] = NewestFrameSlot()
        open_source = partial(
            open_reader, camera, open_timeout_s=config.open_timeout_s, read_timeout_s=config.read_timeout_s
        )
        self._capture = Capture(
            camera,
            open_source,
            gate=Gate(camera).evaluate,
            buffer=buffer,
            slot=self._slot,
            send=self._channel.send,
            max_lag_s=config.max_lag_s,
            repeat=config.repeat,
        )
        # A daemon, so that a read which hangs inside a library cannot keep the process from ending.
        self._thread = threading.Thread(target=self._capture.run, name="capture", daemon=True)

    def serve(self) -> Message | None:
        """Capture and send frames. Returns the last message, or None when the service does not want one."""
        self._thread.start()
        try:
            return self._serve()
        except Exception as error:  # noqa: BLE001  # reported: the service logs it
            return crash_of(error)

    def stop(self) -> bool:
        """Stop the capture thread, which closes its source. Returns whether it ended in time."""
        self._capture.stop()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            return False
        self._slot.close()
        return True

    def _serve(self) -> Message | None:
        requested = False
        while not (requested and self._slot.drained):
            if self._channel_is_readable(requested=requested):
                if not self._channel.wait_for_request():
                    return None
                requested = True
            elif (captured := self._slot.take()) is not None:
                requested = not self._send(captured)
        return self._capture.last_message

    def _channel_is_readable(self, *, requested: bool) -> bool:
        """Wait for the channel, and for the slot if a frame is requested. Returns whether the channel is readable."""
        poll = select.poll()
        poll.register(self._peer, select.POLLIN)
        if requested:
            poll.register(self._slot, select.POLLIN)
        return any(descriptor == self._peer.fileno() for descriptor, _ in poll.poll())

    def _send(self, captured: CapturedFrame) -> bool:
        """Encode a frame and send it to the service; False when it was dropped."""
        try:
            prepared = prepare(captured.raw, captured.decision, self._camera)
        except ValueError:
            self._buffer.add(Count.UNREADABLE)
            return False
        if len(prepared.jpeg) > self._buffer.jpeg_bytes_max:
            self._buffer.add(Count.TOO_LARGE)
            return False
        self._buffer.add(Count.DELIVERED)
        timestamps = captured.timestamps
        frame = FrameReady(
            size_bytes=len(prepared.jpeg),
            sequence=captured.sequence,
            captured_at_us=timestamps.captured_at_us,
            grabbed_at_us=timestamps.grabbed_at_us,
            grabbed_s=timestamps.grabbed_s,
            clock=timestamps.clock,
            regions=prepared.regions,
            encoded_s=time.monotonic(),
        )
        self._channel.send_frame(frame, prepared.jpeg)
        return True
