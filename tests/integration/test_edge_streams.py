"""A camera's own process over real connections: transports, clocks, damage, silence, passwords, and its end."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal

import pytest

from edge.link.messages import Failed, FrameReady, Opened
from framematch.stack.mediamtx import MediaMtxServer
from tests.integration.camera_worker import camera_worker
from tests.integration.edge_service import write_images, write_video
from tests.integration.rtsp_camera import Session, h264, rtsp_camera
from tests.support import eventually

pytestmark = pytest.mark.integration

FRAMES = h264(1_000)
HOUR_S = 3600.0


def steady(session: Session) -> None:
    session.play(FRAMES)


def some_then_silence(session: Session) -> None:
    session.play(FRAMES[:10])
    session.wait()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "camera.mp4", seconds=2, fps=15)


@contextmanager
def publishing(video: Path, url: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "demo.publisher", str(video), url, "--loop"]) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_published_stream_is_read(rtsp: MediaMtxServer, video: Path, transport: Literal["tcp", "udp"]) -> None:
    url = f"{rtsp.url}/read-by-{transport}"
    with publishing(video, url):
        opened = False
        while not opened:  # the publisher needs a moment
            async with camera_worker(url, rtsp_transport=transport, fps=5) as worker:
                worker.channel.request()
                message = await worker.message()
                if opened := isinstance(message, Opened):
                    assert message == Opened(320, 240)
                    assert isinstance(await worker.message(), FrameReady)
                    frames = [await worker.frame() for _ in range(5)]
                else:
                    assert message is None or message == Failed("404: no such stream")
    assert [frame.sequence for frame, _ in frames] == sorted({frame.sequence for frame, _ in frames})
    assert {size for _, size in frames} == {(320, 240)}
    assert frames[-1][0].clock in ("rtp", "rtcp")


async def test_the_cameras_clock_is_used_once_it_is_reported() -> None:
    def half_a_second_ago(session: Session) -> None:
        session.frame(FRAMES[0], 1_000.0)
        session.report(1_000.0, time.time() - 0.5)
        session.play(FRAMES, start_s=1_000.04)

    with rtsp_camera(half_a_second_ago) as camera:
        async with camera_worker(camera.url) as worker:
            frame, _ = await worker.frame()
            while frame.grabbed_at_us - frame.captured_at_us < 490_000:  # it gets there at half speed
                frame, _ = await worker.frame()
            assert frame.clock == "rtcp"


async def test_a_camera_clock_that_is_wrong_is_not_used() -> None:
    def an_hour_ago(session: Session) -> None:
        session.frame(FRAMES[0], 1_000.0)
        session.report(1_000.0, time.time() - HOUR_S)
        session.play(FRAMES, start_s=1_000.04)

    with rtsp_camera(an_hour_ago) as camera:
        async with camera_worker(camera.url) as worker:
            frames = [(await worker.frame())[0] for _ in range(10)]
    assert frames[-1].clock == "rtp"
    assert all(abs(frame.grabbed_at_us - frame.captured_at_us) < 60e6 for frame in frames)


async def test_a_stream_may_change_its_resolution() -> None:
    def changing(session: Session) -> None:
        session.play(FRAMES[:20])
        session.play(h264(500, width=160, height=120), start_s=0.8)

    with rtsp_camera(changing) as camera:
        async with camera_worker(camera.url) as worker:
            sizes = [(await worker.frame())[1]]
            while sizes[-1] == (320, 240):
                sizes.append((await worker.frame())[1])
    assert sizes[-1] == (160, 120)


async def test_garbage_between_good_frames_is_counted_and_the_stream_goes_on() -> None:
    junk = [b"\x65" + bytes(range(1, 200))]

    def dirty(session: Session) -> None:
        session.play([junk if number % 10 == 9 else units for number, units in enumerate(FRAMES)])

    with rtsp_camera(dirty) as camera:
        async with camera_worker(camera.url) as worker:
            await eventually(lambda: worker.counts().corrupt > 1, message="damage is counted")
            before = worker.counts().captured
            await eventually(lambda: worker.counts().captured > before + 10, message="good frames go on")


async def test_a_stream_of_nothing_but_garbage_fails() -> None:
    def garbage(session: Session) -> None:
        session.play([[bytes([0x61, *range(number % 50, 200)])] for number in range(1_000)])

    with rtsp_camera(garbage) as camera:
        async with camera_worker(camera.url, read_timeout_s=0.5) as worker:
            assert await worker.last_message() == Failed("no decodable frame for 1.5 s")
            assert worker.counts().captured == 0


async def test_a_camera_that_falls_silent_fails() -> None:
    with rtsp_camera(some_then_silence) as camera:
        async with camera_worker(camera.url, read_timeout_s=1.0) as worker:
            assert await worker.last_message() == Failed("no frame for 1 s")


async def test_a_camera_that_closes_the_connection_has_ended() -> None:
    with rtsp_camera(lambda session: session.play(FRAMES[:10])) as camera:
        async with camera_worker(camera.url) as worker:
            assert await worker.last_message() == Failed("stream ended")


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        ("m=video 0 RTP/AVP 96\r\na=rtpmap:96 X-UNKNOWN/90000", "its codec is not known"),
        ("m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000", "has no video"),
        ("m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000", "has no video"),
    ],
)
async def test_a_stream_that_cannot_be_decoded_is_a_failure_and_no_defect(
    monkeypatch: pytest.MonkeyPatch, media: str, reason: str
) -> None:
    session = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    monkeypatch.setattr("tests.integration.rtsp_camera._SDP", f"{session}{media}\r\na=control:video\r\n")
    with rtsp_camera(steady) as camera:
        async with camera_worker(camera.url, open_timeout_s=2.0) as worker:
            assert await worker.last_message() == Failed(reason)


async def test_a_wrong_password_is_reported() -> None:
    with rtsp_camera(steady, password="right") as camera:
        async with camera_worker(camera.url.replace("://", "://user:wrong@")) as worker:
            assert await worker.last_message() == Failed("401: check user and password")
        async with camera_worker(camera.url.replace("://", "://user:right@")) as worker:
            assert await worker.opened() == Opened(320, 240)


async def test_a_camera_that_redirects_elsewhere_is_refused_and_no_other_host_is_contacted() -> None:
    with rtsp_camera(steady) as elsewhere, rtsp_camera(steady, redirect=elsewhere.url) as camera:
        async with camera_worker(camera.url) as worker:
            assert await worker.last_message() == Failed(
                "redirects elsewhere, which is not followed (or its address is wrong)"
            )
    assert (elsewhere.connections, elsewhere.sessions) == (0, 0)


async def test_a_port_without_a_server_is_reported(dead_address: str) -> None:
    async with camera_worker(f"rtsp://{dead_address}/1") as worker:
        assert await worker.last_message() == Failed("connection refused")


async def test_a_server_that_accepts_and_never_answers_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/1"
        async with camera_worker(url, open_timeout_s=1.0) as worker:
            assert await worker.last_message() == Failed("no answer for 1 s")


async def test_with_key_frames_only_no_other_frames_are_decoded() -> None:
    with rtsp_camera(steady) as camera:
        async with camera_worker(camera.url, key_frames_only=True) as worker:
            frames = [(await worker.frame())[0] for _ in range(6)]
    gaps_us = [after.captured_at_us - before.captured_at_us for before, after in pairwise(frames[1:])]
    assert median(gaps_us) > 150_000  # every fifth of 25 a second; a busy machine delays some


async def test_a_process_that_is_shut_down_ends_its_session_with_the_camera() -> None:
    with rtsp_camera(steady) as camera:
        async with camera_worker(camera.url) as worker:
            await worker.opened()
            worker.channel.shut_down()
            await worker.ended()
            assert worker.process.exitcode == 0
        await eventually(lambda: camera.teardowns == 1, message="TEARDOWN at the camera")


async def test_a_process_that_hangs_while_opening_ends_when_the_service_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/1"
        async with camera_worker(url, open_timeout_s=300.0, read_timeout_s=300.0) as worker:
            connection, _ = silent.accept()
            with connection:
                worker.channel.__exit__()
                await worker.ended()
                assert worker.process.exitcode == 0


async def test_a_process_whose_camera_is_silent_ends_when_the_service_is_gone_after_a_request() -> None:
    with rtsp_camera(some_then_silence) as camera:
        async with camera_worker(camera.url) as worker:
            await eventually(lambda: worker.counts().captured > 5, message="most of its frames")
            await worker.frame()
            worker.channel.request()
            worker.channel.__exit__()
            await worker.ended()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_counts_of_a_killed_or_halted_process_can_be_read(number: signal.Signals) -> None:
    with rtsp_camera(steady) as camera:
        async with camera_worker(camera.url) as worker:
            frame, _ = await worker.frame()
            worker.signal(number)
            counts = worker.counts()
            assert counts.delivered == frame.sequence - counts.overrun + 1 or counts.delivered == 1
            assert counts.captured >= 1


async def test_signals_for_the_service_do_not_end_its_cameras() -> None:
    with rtsp_camera(steady) as camera:
        async with camera_worker(camera.url) as worker:
            await worker.opened()
            worker.signal(signal.SIGINT)
            worker.signal(signal.SIGTERM)
            frame, _ = await worker.frame()
            assert isinstance(frame, FrameReady)


async def test_the_process_list_names_the_camera_and_no_url() -> None:
    with rtsp_camera(steady, password="hunter2") as camera:
        async with camera_worker(camera.url.replace("://", "://user:hunter2@")) as worker:
            await worker.opened()
            assert worker.command_line() == "framematch camera till-1"


async def test_a_folder_is_played_in_full_however_slow_the_service_is(tmp_path: Path) -> None:
    async with camera_worker(str(write_images(tmp_path / "images", 30)), fps=200) as worker:
        frames = [(await worker.frame())[0] for _ in range(30)]
        assert [frame.sequence for frame in frames] == list(range(30))
        assert {frame.clock for frame in frames} == {"wall"}
