"""The account of a worker: whatever the source gives and the service asks, each sampled frame has one fate."""

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
from edge.link.area import SharedArea
from edge.link.messages import Ended, Failed, FrameReady, Message, unpack
from edge.sources import Source
from edge.worker.gate import Look
from edge.worker.grabbed import Grabbed
from edge.worker.raw import Grey, Picture
from edge.worker.run import Assignment, Worker
from framematch.core.errors import CameraUnavailableError

Kind = Literal["good", "damaged", "still", "dark", "unreadable", "too_large"]
Step = Kind | Literal["ask"]

SMALL = np.zeros((8, 8, 3), np.uint8)
LARGE = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)


class Picked:
    """A picture that does as its kind says."""

    size = (8, 8)

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def grey(self, width: int) -> Grey:
        raise AssertionError(width)

    def colour(self, max_side: int) -> Picture:
        if self.kind == "unreadable":
            raise ValueError(max_side)
        return LARGE if self.kind == "too_large" else SMALL


class FedReader:
    """Gives frames as the test feeds them, until it is fed the end."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._fed: queue.SimpleQueue[Kind | None] = queue.SimpleQueue()
        self._kind: Kind = "good"
        self._count = 0

    def feed(self, kind: Kind | None) -> None:
        self._fed.put(kind)

    def grab(self) -> Grabbed | None:
        kind = self._fed.get()
        if kind is None:
            if self._live:
                raise CameraUnavailableError("stream ended")
            return None
        self._kind = kind
        self._count += 1
        return Grabbed(None if self._live else self._count * 1e-6, damaged=kind == "damaged")

    def retrieve(self) -> Picked:
        return Picked(self._kind)

    def close(self) -> None:
        """Nothing is open."""


class PickyGate:
    def __init__(self, _camera: Camera) -> None:
        pass

    def look(self, raw: Picked, _at_s: float) -> Look:
        if raw.kind == "dark":
            raise ValueError(raw)
        return Look(send=raw.kind != "still")


class Service:
    """Asks for one frame at a time, and keeps what it is told."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._asked = False
        self.told: list[Message] = []

    def ask(self) -> None:
        self.listen(wait=False)
        if not self._asked:
            self._line.send(b"?")
            self._asked = True

    def listen(self, *, wait: bool) -> bool:
        """Take what has come; whether something has."""
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        if not poll.poll(30_000 if wait else 0) or not (packet := self._line.recv(65_536)):
            return False
        self.told.append(unpack(packet))
        self._asked = self._asked and not isinstance(self.told[-1], FrameReady)
        return True

    @property
    def frames(self) -> list[FrameReady]:
        return [message for message in self.told if isinstance(message, FrameReady)]


kinds: list[Kind] = ["good", "good", "good", "damaged", "still", "dark", "unreadable", "too_large"]
steps_of_both = st.lists(st.one_of(st.sampled_from(kinds), st.just("ask")), max_size=30)


@given(steps=steps_of_both, dismissed=st.booleans())
@pytest.mark.parametrize("live", [True, False], ids=["live", "finite"])
def test_every_sampled_frame_has_one_fate(live: bool, steps: list[Step], dismissed: bool) -> None:
    reader = FedReader(live=live)
    source = Source("stream", "rtsp://camera/1") if live else Source("folder", "pictures")
    camera = Camera("till-1", source, fps=1e6, max_side=640, jpeg_quality=85)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        patch("edge.worker.run.open_reader", lambda *_arguments, **_named: reader),
        patch("edge.worker.run.Gate", PickyGate),
        closing(SharedArea.create(2_000)) as area,
        near,
    ):
        worker = Worker(far, area, Assignment(camera, 5, 5, 5))
        last_words: list[Message | None] = []
        thread = threading.Thread(target=lambda: last_words.append(worker.serve()))
        thread.start()
        service = Service(near)
        for step in steps:
            if step == "ask":
                service.ask()
            else:
                reader.feed(step)
        if dismissed:
            near.shutdown(socket.SHUT_WR)
        else:
            reader.feed(None)
            while thread.is_alive():
                service.ask()
                thread.join(0.001)
        thread.join(30)
        reader.feed(None)
        assert worker.left()
        far.close()
        while service.listen(wait=True):
            pass
        counts = area.counts()
    expected = None if dismissed else Failed("stream ended") if live else Ended()
    assert last_words == [expected]
    assert counts.sampled == counts.still + counts.corrupt + counts.captured
    inside = counts.captured - counts.delivered - counts.overrun - counts.unreadable - counts.too_large
    assert inside in ((0, 1, 2) if dismissed else (0,))  # one in the slot, one on its way there
    assert len(service.frames) == counts.delivered
    for before, after in zip(service.frames, service.frames[1:], strict=False):
        assert after.sequence > before.sequence
        assert after.captured_at_us > before.captured_at_us
    if not live:
        assert counts.overrun == 0
