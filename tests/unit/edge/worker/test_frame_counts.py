"""The counts of a worker: whatever the source delivers and the service requests, each sampled frame counts once."""

import queue
import select
import socket
import threading
from contextlib import closing
from typing import Literal
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras import Camera
from edge.link.messages import Ended, Failed, FrameReady, Message, unpack
from edge.link.shared_buffer import SharedBuffer
from edge.sources import Source
from edge.worker.gate import GateDecision
from edge.worker.hardware import SOFTWARE
from edge.worker.run import Worker, WorkerConfig
from edge.worker.source import GrabbedFrame
from framematch.core.arrays import Pixels
from framematch.core.errors import CameraUnavailableError

Kind = Literal["good", "damaged", "still", "dark", "unreadable", "too_large"]
Step = Kind | Literal["request"]

SMALL = np.zeros((8, 8, 3), np.uint8)
LARGE = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)


class FakePicture:
    """A picture of one kind."""

    size = (8, 8)

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def grey(self, width: int) -> Pixels:
        raise AssertionError(width)

    def colour(self, max_side: int) -> Pixels:
        if self.kind == "unreadable":
            raise ValueError(max_side)
        return LARGE if self.kind == "too_large" else SMALL


class FedReader:
    """Delivers the frames that the test feeds, until it feeds the end."""

    decoding = SOFTWARE

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._fed: queue.SimpleQueue[Kind | None] = queue.SimpleQueue()
        self._kind: Kind = "good"
        self._count = 0

    def feed(self, kind: Kind | None) -> None:
        self._fed.put(kind)

    def grab(self) -> GrabbedFrame | None:
        kind = self._fed.get()
        if kind is None:
            if self._live:
                raise CameraUnavailableError("stream ended")
            return None
        self._kind = kind
        self._count += 1
        return GrabbedFrame(None if self._live else self._count * 1e-6, damaged=kind == "damaged")

    def retrieve(self) -> FakePicture:
        return FakePicture(self._kind)

    def close(self) -> None:
        """Nothing is open."""


class FakeGate:
    def __init__(self, _camera: Camera) -> None:
        pass

    def evaluate(self, raw: FakePicture, _at_s: float) -> GateDecision:
        if raw.kind == "dark":
            raise ValueError(raw)
        return GateDecision(send=raw.kind != "still")


class Service:
    """Requests one frame at a time, and keeps all messages."""

    def __init__(self, channel: socket.socket) -> None:
        self._socket = channel
        self._requested = False
        self.messages: list[Message] = []

    def request(self) -> None:
        self.listen(wait=False)
        if not self._requested:
            self._socket.send(b"?")
            self._requested = True

    def listen(self, *, wait: bool) -> bool:
        """Receive a message, if there is one. Returns whether there was."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(30_000 if wait else 0) or not (packet := self._socket.recv(65_536)):
            return False
        self.messages.append(unpack(packet))
        self._requested = self._requested and not isinstance(self.messages[-1], FrameReady)
        return True

    @property
    def frames(self) -> list[FrameReady]:
        return [message for message in self.messages if isinstance(message, FrameReady)]


kinds: list[Kind] = ["good", "good", "good", "damaged", "still", "dark", "unreadable", "too_large"]
steps_of_both = st.lists(st.one_of(st.sampled_from(kinds), st.just("request")), max_size=30)


@given(steps=steps_of_both, shut_down=st.booleans())
@pytest.mark.parametrize("live", [True, False], ids=["live", "finite"])
def test_every_sampled_frame_is_counted_once(live: bool, steps: list[Step], shut_down: bool) -> None:
    reader = FedReader(live=live)
    source = Source("stream", "rtsp://camera/1") if live else Source("folder", "pictures")
    camera = Camera("till-1", source, fps=1e6, max_side=640, jpeg_quality=85)
    channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        patch("edge.worker.run.open_reader", lambda *_arguments, **_named: reader),
        patch("edge.worker.run.Gate", FakeGate),
        closing(SharedBuffer.create(2_000)) as buffer,
        channel,
    ):
        worker = Worker(peer, buffer, WorkerConfig(camera, 5, 5, 5))
        last_messages: list[Message | None] = []
        thread = threading.Thread(target=lambda: last_messages.append(worker.serve()))
        thread.start()
        service = Service(channel)
        for step in steps:
            if step == "request":
                service.request()
            else:
                reader.feed(step)
        if shut_down:
            channel.shutdown(socket.SHUT_WR)
        else:
            reader.feed(None)
            while thread.is_alive():
                service.request()
                thread.join(0.001)
        thread.join(30)
        reader.feed(None)
        assert worker.stop()
        peer.close()
        while service.listen(wait=True):
            pass
        counts = buffer.counts()
    expected = None if shut_down else Failed("stream ended") if live else Ended()
    assert last_messages == [expected]
    assert counts.sampled == counts.still + counts.corrupt + counts.captured
    inside = counts.captured - counts.delivered - counts.overrun - counts.unreadable - counts.too_large
    assert inside in ((0, 1, 2) if shut_down else (0,))  # one in the slot, one about to enter
    assert len(service.frames) == counts.delivered
    for before, after in zip(service.frames, service.frames[1:], strict=False):
        assert after.sequence > before.sequence
        assert after.captured_at_us > before.captured_at_us
    if not live:
        assert counts.overrun == 0
