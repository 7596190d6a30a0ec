"""`framematch edge` when a camera, its server or its process fails: it recovers, and no other camera is affected."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from framematch.core.frames import parse_frame
from framematch.stack.kafka import KafkaServer
from framematch.stack.mediamtx import MediaMtxServer
from tests.integration.edge_service import (
    EdgeService,
    new_prefix,
    publishing,
    quick_edge,
    read_statuses,
    read_topic,
    write_images,
    write_video,
)
from tests.support import freeze, resume, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("untraced_processes")]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "camera.mp4", seconds=2, fps=15)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MediaMtxServer]:
    server = MediaMtxServer(tmp_path / "rtsp")
    server.start()
    yield server
    server.kill()


@contextmanager
def silent_camera() -> Iterator[str]:
    """A half-open server: it accepts every connection and never answers."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    connections.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def published(service: EdgeService, camera: str) -> float:
    return service.metric("frames_published_total", camera=camera)


def wait_for_frames(service: EdgeService, camera: str, *, more: int = 5) -> None:
    before = published(service, camera)
    wait_until(lambda: published(service, camera) >= before + more, message=f"{more} more frames of {camera}")


def failures(service: EdgeService) -> list[str]:
    return [event["reason"] for event in service.events("camera_failed")]


def sequences(kafka: KafkaServer, prefix: str, camera: str) -> list[int]:
    records = read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    return [parse_frame(record.key, record.headers).sequence for record in records if record.key == camera.encode()]


def check_counts(kafka: KafkaServer, prefix: str, camera: str) -> None:
    """The frames missing in the topic are counted as dropped in the last status, and the order is right."""
    found = sequences(kafka, prefix, camera)
    assert found == sorted(set(found))
    last = read_statuses(kafka.bootstrap_servers, prefix, camera)[-1]
    missing_inside = set(range(found[-1] + 1)) - set(found)
    assert len(missing_inside) <= sum(last.drops.values())


def test_a_camera_is_opened_again_after_its_server_was_killed(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    prefix, url = new_prefix(), f"{server.url}/till-1"
    with quick_edge(tmp_path, kafka.bootstrap_servers, prefix, {"till-1": url}) as service:
        with publishing(video, url):
            wait_for_frames(service, "till-1")
            failures = len(service.events("camera_failed"))
            server.kill()
            service.wait_for("camera_failed", count=failures + 1)
        server.start()
        with publishing(video, url):
            wait_for_frames(service, "till-1")
            assert service.terminate() == 0
    statuses = read_statuses(kafka.bootstrap_servers, prefix, "till-1")
    states = [status.state for status in statuses]
    assert "offline" in states[states.index("online") :]
    assert (statuses[-1].reason, statuses[-1].reconnects) == ("stopped", 1)
    check_counts(kafka, prefix, "till-1")


def test_a_camera_that_falls_silent_fails_after_the_read_timeout_and_recovers(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    """The server is halted, not killed: its connections stay open and silent."""
    prefix, url = new_prefix(), f"{server.url}/till-1"
    with publishing(video, url), quick_edge(
        tmp_path, kafka.bootstrap_servers, prefix, {"till-1": url},
        FRAMEMATCH_EDGE__READ_TIMEOUT_S="1", FRAMEMATCH_EDGE__OPEN_TIMEOUT_S="1",
    ) as service:  # fmt: skip
        wait_for_frames(service, "till-1")
        failures = len(service.events("camera_failed"))
        freeze(server.pid)
        try:
            assert service.wait_for("camera_failed", count=failures + 1)["reason"] == "no frame for 1 s"
        finally:
            resume(server.pid)
        wait_for_frames(service, "till-1")
        assert service.terminate() == 0
    check_counts(kafka, prefix, "till-1")


def test_a_camera_whose_process_is_killed_goes_on_in_another_and_counts_the_lost_frames(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    prefix, url = new_prefix(), f"{server.url}/till-1"
    with publishing(video, url), quick_edge(tmp_path, kafka.bootstrap_servers, prefix, {"till-1": url}) as service:
        process = service.wait_for_camera_process("till-1")
        wait_for_frames(service, "till-1")
        os.kill(process, signal.SIGKILL)
        assert service.wait_for("camera_failed")["reason"] == "its process died (SIGKILL)"
        assert service.wait_for_camera_process("till-1", other_than=process)
        wait_for_frames(service, "till-1")
        assert service.terminate() == 0
    check_counts(kafka, prefix, "till-1")


def test_the_watchdog_kills_a_process_that_ignores_its_timeouts(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    """A halted process reacts neither to timeouts nor to signals, like a read that hangs inside a driver."""
    prefix, url = new_prefix(), f"{server.url}/till-1"
    with publishing(video, url), quick_edge(
        tmp_path, kafka.bootstrap_servers, prefix, {"till-1": url}, FRAMEMATCH_EDGE__WATCHDOG_S="2"
    ) as service:  # fmt: skip
        process = service.wait_for_camera_process("till-1")
        wait_for_frames(service, "till-1")
        freeze(process)
        wait_until(lambda: "no new frame for 2 s: its process was killed" in failures(service))
        wait_for_frames(service, "till-1")
        assert not Path(f"/proc/{process}").exists()
        assert service.terminate() == 0
    check_counts(kafka, prefix, "till-1")


def test_no_process_is_left_when_the_service_is_killed(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    url = f"{server.url}/till-1"
    with (
        publishing(video, url),
        quick_edge(tmp_path, kafka.bootstrap_servers, new_prefix(), {"till-1": url}) as service,
    ):
        process = service.wait_for_camera_process("till-1")
        wait_for_frames(service, "till-1")
        service.kill()
        wait_until(lambda: not Path(f"/proc/{process}").exists(), message="the camera's process has ended")


def test_a_half_open_camera_delays_neither_the_others_nor_the_shutdown(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    """It never answers, and the timeouts are longer than the shutdown may take."""
    url = f"{server.url}/till-1"
    with silent_camera() as silent, publishing(video, url), quick_edge(
        tmp_path, kafka.bootstrap_servers, new_prefix(), {"silent": silent, "till-1": url},
        FRAMEMATCH_EDGE__OPEN_TIMEOUT_S="300", FRAMEMATCH_EDGE__READ_TIMEOUT_S="300", FRAMEMATCH_EDGE__WATCHDOG_S="2",
    ) as service:  # fmt: skip
        wait_for_frames(service, "till-1", more=10)
        wait_until(lambda: [line for line in service.events("camera_failed") if line["camera"] == "silent"])
        assert service.terminate() == 0


def test_an_unreachable_camera_delays_neither_the_others_nor_the_shutdown(
    kafka: KafkaServer, dead_address: str, tmp_path: Path
) -> None:
    prefix, images = new_prefix(), write_images(tmp_path / "images", 20)
    cameras = {"unreachable": f"rtsp://{dead_address}/x", "shelf": str(images)}
    with quick_edge(tmp_path, kafka.bootstrap_servers, prefix, cameras, FRAMEMATCH_EDGE__FPS="50") as service:
        service.wait_for("camera_ended")
        wait_until(lambda: published(service, "shelf") == 20)
        assert service.terminate() == 0
    last = read_statuses(kafka.bootstrap_servers, prefix, "unreachable")[-1]
    assert (last.state, last.reason, last.last_frame_age_s) == ("offline", "stopped", None)


@pytest.mark.timeout(240)
def test_of_twenty_cameras_five_are_dead_and_the_others_keep_their_rate(
    kafka: KafkaServer, rtsp: MediaMtxServer, dead_address: str, tmp_path: Path
) -> None:
    """The statuses of a running camera show that it sends at about its rate."""
    prefix, fps, living = new_prefix(), 4, [f"live-{number}" for number in range(15)]
    small = write_video(tmp_path / "small.mp4", seconds=2, fps=8, width=160, height=120)
    with ExitStack() as stack:
        silent = stack.enter_context(silent_camera())
        # All read one stream: the edge is tested, and a server of fifteen streams costs more than the edge does.
        url = f"{rtsp.url}/{prefix}"
        stack.enter_context(publishing(small, url))
        dead = {
            "dead-silent": silent,
            "dead-refused": f"rtsp://{dead_address}/x",
            "dead-missing": f"{rtsp.url}/not-published",
            "dead-silent-2": silent,
            "dead-device": "977",
        }
        cameras = {**dict.fromkeys(living, url), **dead}
        service = stack.enter_context(
            quick_edge(
                tmp_path,
                kafka.bootstrap_servers,
                prefix,
                cameras,
                FRAMEMATCH_EDGE__FPS=str(fps),
                FRAMEMATCH_EDGE__STATUS_INTERVAL_S="5",
            )
        )
        wait_until(lambda: all(published(service, name) >= 40 for name in living), timeout_s=120)
        assert service.terminate() == 0
    for name in living:
        statuses = read_statuses(kafka.bootstrap_servers, prefix, name)
        sent_fps = [status.sent_fps for status in statuses if status.state != "offline"][1:-1]
        assert sum(sent_fps) / len(sent_fps) >= 0.75 * fps, sent_fps
    for name in dead:
        assert read_statuses(kafka.bootstrap_servers, prefix, name)[-1].source_fps == 0
