"""A camera's own process: one thread reads the source, the main thread encodes what the service asks for."""

import os
import select
import signal
import socket
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import cv2
from setproctitle import setproctitle

from edge.cameras import Camera
from edge.link.area import Count, SharedArea
from edge.link.ends import WorkerEnd
from edge.link.messages import FrameReady, Message
from edge.worker.capture import Capture, Captured, crash_of
from edge.worker.gate import Gate
from edge.worker.prepare import prepare
from edge.worker.readers import open_reader
from edge.worker.slot import NewestFrameSlot

_LEAVE_S = 0.5  # for the capture thread to tell the camera that we leave


class SentDescriptor(Protocol):
    """What `multiprocessing.reduction.DupFd` makes of a descriptor on its way to another process."""

    def detach(self) -> int:
        """The descriptor, which is ours from then on."""


@dataclass(frozen=True)
class Assignment:
    """What a camera's process is to do: play `camera` once, or for ever with `repeat` when it is finite."""

    camera: Camera
    open_timeout_s: float
    read_timeout_s: float
    max_lag_s: float
    repeat: bool = False


def run_worker(line: socket.socket, area: SentDescriptor, assignment: Assignment) -> None:
    """Serve the other end of `line` until the source has ended or failed, or nobody is there any more.

    The last message says how the source ended; there is none when the service dismissed us or is gone. For a process
    of its own: a capture thread that hangs in a library ends with it, here and now.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever stops the service means the service; it dismisses us
    setproctitle(f"framematch camera {assignment.camera.id}")
    # Cameras share the cores; a pool of threads inside one resize or conversion only costs hand-overs.
    cv2.setNumThreads(1)
    shared = SharedArea(area.detach())
    worker = Worker(line, shared, assignment)
    last_words = worker.serve()
    if last_words is not None:
        WorkerEnd(line, shared).say(last_words)
    line.close()
    if not worker.left():
        os._exit(0)


class Worker:
    """The main thread's part: waits for the service and for the slot at once, so that neither is missed."""

    def __init__(self, line: socket.socket, area: SharedArea, assignment: Assignment) -> None:
        self._line = line
        self._end = WorkerEnd(line, area)
        self._area = area
        self._camera = camera = assignment.camera
        self._slot: NewestFrameSlot[Captured] = NewestFrameSlot()
        open_source = partial(
            open_reader,
            camera.source,
            fps=camera.fps,
            open_timeout_s=assignment.open_timeout_s,
            read_timeout_s=assignment.read_timeout_s,
            rtsp_transport=camera.rtsp_transport,
            key_frames_only=camera.key_frames_only,
            allowed_hosts=camera.allowed_hosts,
        )
        self._capture = Capture(
            camera,
            open_source,
            gate=Gate(camera),
            area=area,
            slot=self._slot,
            say=self._end.say,
            max_lag_s=assignment.max_lag_s,
            repeat=assignment.repeat,
        )
        # A daemon, so that a read which hangs inside a library cannot keep the process from ending.
        self._thread = threading.Thread(target=self._capture.run, name="capture", daemon=True)

    def serve(self) -> Message | None:
        """Start to capture and hand over frames; the last words, or None when nobody wants to hear them."""
        self._thread.start()
        try:
            return self._serve()
        except Exception as error:  # noqa: BLE001  # handed on: the service logs it
            return crash_of(error)

    def left(self) -> bool:
        """Let the capture thread close its source; whether it did in time."""
        self._capture.stop()
        self._thread.join(_LEAVE_S)
        return not self._thread.is_alive()

    def _serve(self) -> Message | None:
        asked = False
        while not (asked and self._slot.finished):
            if self._line_speaks(asked=asked):
                if not self._end.wait_until_asked():
                    return None
                asked = True
            elif (captured := self._slot.take()) is not None:
                asked = not self._hand_over(captured)
        return self._capture.last_words

    def _line_speaks(self, *, asked: bool) -> bool:
        """Wait for the line, and when the service has asked, for the slot too; whether the line has something."""
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        if asked:
            poll.register(self._slot, select.POLLIN)
        return any(descriptor == self._line.fileno() for descriptor, _ in poll.poll())

    def _hand_over(self, captured: Captured) -> bool:
        """Encode a frame and give it to the service; False when it went no further."""
        try:
            prepared = prepare(captured.raw, captured.look, self._camera)
        except ValueError:
            self._area.add(Count.UNREADABLE)
            return False
        if len(prepared.jpeg) > self._area.jpeg_bytes_max:
            self._area.add(Count.TOO_LARGE)
            return False
        self._area.add(Count.DELIVERED)
        stamp = captured.stamp
        frame = FrameReady(
            size_bytes=len(prepared.jpeg),
            sequence=captured.sequence,
            captured_at_us=stamp.captured_at_us,
            grabbed_at_us=stamp.grabbed_at_us,
            grabbed_s=stamp.grabbed_s,
            clock=stamp.clock,
            regions=prepared.regions,
            encoded_s=time.monotonic(),
        )
        self._end.deliver(frame, prepared.jpeg)
        return True
