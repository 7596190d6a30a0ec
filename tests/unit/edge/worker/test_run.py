"""A worker's main thread: gives a frame when asked, accounts for those that go no further, and says last words."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import Camera
from edge.link.area import SharedArea
from edge.link.messages import Ended, Failed, FrameReady, Message, Opened, unpack
from edge.sources import Source
from edge.worker.run import Assignment, Worker

_PATIENCE_MS = 30_000


class Service:
    """The other end, in the thread of the test."""

    def __init__(self, line: socket.socket, worker: Worker) -> None:
        self.line = line
        self.worker = worker
        self.last_words: list[Message | None] = []
        self.thread = threading.Thread(target=lambda: self.last_words.append(worker.serve()))

    def message(self) -> Message:
        poll = select.poll()
        poll.register(self.line, select.POLLIN)
        assert poll.poll(_PATIENCE_MS)
        return unpack(self.line.recv(65_536))

    def ended(self) -> Message | None:
        self.thread.join(30)
        assert self.worker.left()
        return self.last_words[0]


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[tuple[SharedArea, Serve]]:
    """Start a worker over a folder of images, or over another source."""
    with ExitStack() as left:
        area = SharedArea.create(2_000)
        left.callback(area.close)

        def start(source: Source | None = None, **settings: object) -> Service:
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            left.enter_context(near)
            left.enter_context(far)
            camera = Camera("till-1", source or Source("folder", str(tmp_path)), fps=500, max_side=640, jpeg_quality=85)
            service = Service(near, Worker(far, area, Assignment(camera, 5, 5, 5, **settings)))  # type: ignore[arg-type]  # as Assignment declares them
            service.thread.start()
            left.callback(service.worker.left)
            left.callback(near.shutdown, socket.SHUT_RDWR)
            return service

        yield area, start


def images(folder: Path, count: int) -> None:
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))


def noise(path: Path) -> None:
    """A picture whose JPEG is larger than the area has room for."""
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))


def test_each_time_it_is_asked_it_gives_one_frame(serve: tuple[SharedArea, Serve], tmp_path: Path) -> None:
    images(tmp_path, 3)
    area, start = serve
    service = start()
    assert service.message() == Opened(8, 8)
    found = []
    for _ in range(3):
        service.line.send(b"?")
        frame = service.message()
        assert isinstance(frame, FrameReady)
        found.append(frame.sequence)
        assert cv2.imdecode(np.frombuffer(area.jpeg(frame.size_bytes), np.uint8), cv2.IMREAD_COLOR) is not None
    service.line.send(b"?")
    assert service.ended() == Ended()
    assert found == [0, 1, 2]
    assert area.counts().delivered == 3


def test_a_frame_that_is_too_large_is_counted_and_the_next_one_comes(
    serve: tuple[SharedArea, Serve], tmp_path: Path
) -> None:
    noise(tmp_path / "0.png")
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    area, start = serve
    service = start()
    service.line.send(b"?")
    assert service.message() == Opened(200, 200)
    frame = service.message()
    assert isinstance(frame, FrameReady)
    assert frame.sequence == 1
    counts = area.counts()
    assert (counts.captured, counts.too_large, counts.delivered) == (2, 1, 1)


def test_a_source_that_fails_is_told_when_the_service_asks(serve: tuple[SharedArea, Serve], tmp_path: Path) -> None:
    service = serve[1](Source("file", str(tmp_path / "gone.mp4")))
    service.line.send(b"?")
    assert service.ended() == Failed("cannot be read: No such file or directory")


def test_it_leaves_without_a_word_when_it_is_dismissed(serve: tuple[SharedArea, Serve], tmp_path: Path) -> None:
    images(tmp_path, 3)
    service = serve[1](repeat=True)
    service.line.shutdown(socket.SHUT_WR)
    assert service.ended() is None


def test_it_leaves_when_the_service_is_gone_while_it_waits_for_a_frame(
    serve: tuple[SharedArea, Serve], tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")  # for ever, and never a frame
    service = serve[1](repeat=True)
    service.line.send(b"?")
    service.line.shutdown(socket.SHUT_WR)
    assert service.ended() is None
