"""A worker's main thread: sends a frame on request, counts those that it drops, and reports how the source ended."""

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
from edge.link.messages import Ended, Failed, FrameReady, Message, Opened, unpack
from edge.link.shared_buffer import SharedBuffer
from edge.sources import Source
from edge.worker.run import Worker, WorkerConfig

_PATIENCE_MS = 30_000


class Service:
    """The service's end of the channel, in the thread of the test."""

    def __init__(self, channel: socket.socket, worker: Worker) -> None:
        self.channel = channel
        self.worker = worker
        self.last_messages: list[Message | None] = []
        self.thread = threading.Thread(target=lambda: self.last_messages.append(worker.serve()))

    def message(self) -> Message:
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        assert poll.poll(_PATIENCE_MS)
        return unpack(self.channel.recv(65_536))

    def ended(self) -> Message | None:
        self.thread.join(30)
        assert self.worker.stop()
        return self.last_messages[0]


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[tuple[SharedBuffer, Serve]]:
    """Start a worker over a folder of images, or over another source."""
    with ExitStack() as stack:
        buffer = SharedBuffer.create(2_000)
        stack.callback(buffer.close)

        def start(source: Source | None = None, **settings: object) -> Service:
            channel, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.enter_context(channel)
            stack.enter_context(peer)
            camera = Camera("till-1", source or Source("folder", str(tmp_path)), fps=500, max_side=640, jpeg_quality=85)
            service = Service(channel, Worker(peer, buffer, WorkerConfig(camera, 5, 5, 5, **settings)))  # type: ignore[arg-type]  # as WorkerConfig declares them
            service.thread.start()
            stack.callback(service.worker.stop)
            stack.callback(service.thread.join, 30)  # it polls what `stop` closes
            stack.callback(channel.shutdown, socket.SHUT_RDWR)
            return service

        yield buffer, start


def images(folder: Path, count: int) -> None:
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))


def noise(path: Path) -> None:
    """A picture whose JPEG does not fit into the buffer."""
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))


def test_each_request_is_answered_by_one_frame(serve: tuple[SharedBuffer, Serve], tmp_path: Path) -> None:
    images(tmp_path, 3)
    buffer, start = serve
    service = start()
    assert service.message() == Opened(8, 8)
    found = []
    for _ in range(3):
        service.channel.send(b"?")
        frame = service.message()
        assert isinstance(frame, FrameReady)
        found.append(frame.sequence)
        assert cv2.imdecode(np.frombuffer(buffer.jpeg(frame.size_bytes), np.uint8), cv2.IMREAD_COLOR) is not None
    service.channel.send(b"?")
    assert service.ended() == Ended()
    assert found == [0, 1, 2]
    assert buffer.counts().delivered == 3


def test_a_frame_that_is_too_large_is_counted_and_the_next_one_is_sent(
    serve: tuple[SharedBuffer, Serve], tmp_path: Path
) -> None:
    noise(tmp_path / "0.png")
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    buffer, start = serve
    service = start()
    service.channel.send(b"?")
    assert service.message() == Opened(200, 200)
    frame = service.message()
    assert isinstance(frame, FrameReady)
    assert frame.sequence == 1
    counts = buffer.counts()
    assert (counts.captured, counts.too_large, counts.delivered) == (2, 1, 1)


def test_a_source_that_fails_is_reported_on_request(serve: tuple[SharedBuffer, Serve], tmp_path: Path) -> None:
    service = serve[1](Source("file", str(tmp_path / "gone.mp4")))
    service.channel.send(b"?")
    assert service.ended() == Failed("cannot be read: No such file or directory")


def test_it_ends_without_a_message_when_it_is_shut_down(serve: tuple[SharedBuffer, Serve], tmp_path: Path) -> None:
    images(tmp_path, 3)
    service = serve[1](repeat=True)
    service.channel.shutdown(socket.SHUT_WR)
    assert service.ended() is None


def test_it_ends_when_the_service_is_gone_while_a_frame_is_requested(
    serve: tuple[SharedBuffer, Serve], tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")  # repeated for ever, without a frame
    service = serve[1](repeat=True)
    service.channel.send(b"?")
    service.channel.shutdown(socket.SHUT_WR)
    assert service.ended() is None
