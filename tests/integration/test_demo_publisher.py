"""A published feed arrives at an RTSP reader frame for frame, in real time."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo import timecode
from demo.dataset import load_photos
from demo.feed import render_feed
from demo.schedule import make_schedule
from demo.timecode import Picture
from framematch.stack.mediamtx import MediaMtxServer
from tests.support import wait_until

pytestmark = pytest.mark.integration

SECONDS = 4
FRAMES = SECONDS * 15


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Another cache only while rendering: the servers are in the usual one.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAMEMATCH_CACHE_DIR", str(tmp_path_factory.mktemp("feeds")))
        return render_feed(make_schedule(load_photos(), camera=5, seconds=SECONDS))


@contextmanager
def publisher(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "demo.publisher", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def opened(url: str) -> cv2.VideoCapture:
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000]
    capture = cv2.VideoCapture()
    wait_until(lambda: capture.open(url, cv2.CAP_FFMPEG, timeouts), message="the stream can be read")
    return capture


def read_pictures(capture: cv2.VideoCapture, *, at_most: int) -> list[Picture]:
    pictures: list[Picture] = []
    while len(pictures) < at_most:
        there, picture = capture.read()
        if not there:
            break
        pictures.append(np.asarray(picture, np.uint8))
    capture.release()
    return pictures


def read_timecodes(url: str, *, at_most: int) -> list[tuple[int, int] | None]:
    return [timecode.read(picture) for picture in read_pictures(opened(url), at_most=at_most)]


def test_every_frame_arrives_once_in_order_and_the_publisher_exits_0_at_the_end(
    rtsp: MediaMtxServer, feed: Path
) -> None:
    url = f"{rtsp.url}/demo-once"
    with publisher(str(feed), url) as process:
        found = read_timecodes(url, at_most=10 * FRAMES)
        assert process.wait(timeout=30) == 0
    first = found[0]
    assert first is not None
    # A late reader misses the start, but nothing after it.
    assert found == [(5, number) for number in range(first[1], FRAMES)]
    assert len(found) > FRAMES // 3


def test_a_feed_is_published_in_real_time(rtsp: MediaMtxServer, feed: Path) -> None:
    started = time.monotonic()
    with publisher(str(feed), f"{rtsp.url}/demo-paced") as process:
        assert process.wait(timeout=60) == 0
    # Only the lower bound is certain (the last frame is due one frame before the end); a slow machine takes longer.
    assert time.monotonic() - started >= SECONDS - 1 / 15


def test_a_looped_feed_starts_again_until_sigterm_and_exits_0(rtsp: MediaMtxServer, feed: Path) -> None:
    url = f"{rtsp.url}/demo-looped"
    with publisher(str(feed), url, "--loop") as process:
        found = read_timecodes(url, at_most=FRAMES + 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    numbers = [code[1] for code in found if code is not None]
    assert len(numbers) == FRAMES + 20
    assert all(after == (before + 1) % FRAMES for before, after in pairwise(numbers))


def test_pictures_arrive_exactly_as_they_were_rendered(rtsp: MediaMtxServer, feed: Path) -> None:
    url = f"{rtsp.url}/demo-pixels"
    original = read_pictures(cv2.VideoCapture(str(feed)), at_most=FRAMES)
    with publisher(str(feed), url, "--loop"):
        received = read_pictures(opened(url), at_most=20)
    for picture in received:
        code = timecode.read(picture)
        assert code is not None
        assert np.array_equal(picture, original[code[1]])


@asynccontextmanager
async def hanging_up_once(address: str) -> AsyncIterator[str]:
    """The address of a server that closes its first connection, and forwards the others to `address`."""
    host, _, port = address.rpartition(":")
    connections = 0

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        finally:
            target.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            writer.close()
            return
        back, forth = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pass_on(reader, forth), pass_on(back, writer))

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert connections == 2


async def test_a_server_that_closes_the_first_connection_is_retried(rtsp: MediaMtxServer, feed: Path) -> None:
    async with hanging_up_once(rtsp.url.removeprefix("rtsp://")) as address:
        with publisher(str(feed), f"rtsp://{address}/demo-again") as process:
            assert await asyncio.to_thread(process.wait, 30) == 0


def test_without_a_server_it_prints_one_line_and_exits_with_1(feed: Path, dead_address: str) -> None:
    with publisher(str(feed), f"rtsp://till:hunter2@{dead_address}/demo-unreachable") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Connection refused" in errors
    assert len(errors.splitlines()) == 1
    assert "hunter2" not in errors


def test_a_server_that_fails_during_playback_ends_it_with_one_line_and_exit_1(tmp_path: Path, feed: Path) -> None:
    server = MediaMtxServer(tmp_path / "server")
    server.start()
    url = f"{server.url}/demo-gone"
    with publisher(str(feed), url, "--loop") as process:
        opened(url).release()
        server.stop()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1
