"""The edge when a camera or Kafka goes away and comes back: nothing hangs, nothing is lost unseen, no secret leaks."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framematch.core.frames import parse_frame
from stack.kafka import KafkaServer
from stack.mediamtx import MediaMtxServer
from stack.server import free_port
from tests.integration.edge_service import (
    edge_service,
    new_prefix,
    read_statuses,
    read_topic,
    write_images,
    write_video,
)
from tests.support import wait_until

pytestmark = pytest.mark.integration

CANARY = "hunter2-canary"
QUICK = {"FRAMEMATCH_EDGE__BACKOFF_INITIAL_S": "0.1", "FRAMEMATCH_EDGE__BACKOFF_MAX_S": "0.2"}


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
def publishing(video: Path, url: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "demo.publisher", str(video), url, "--loop"]) as process:
        try:
            yield
        finally:
            process.kill()


def with_password(url: str) -> str:
    return url.replace("rtsp://", f"rtsp://user:{CANARY}@")


def frames_in(kafka: KafkaServer, prefix: str) -> int:
    return len(read_topic(kafka.bootstrap_servers, f"{prefix}.frames"))


def test_a_camera_is_opened_again_after_its_server_was_killed(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    prefix, url = new_prefix(), f"{server.url}/till-1"
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"till-1={with_password(url)}",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix, **QUICK,
    ) as service:  # fmt: skip
        with publishing(video, url):
            service.wait_for("camera_opened")
            server.kill()
            failures = len(service.events("camera_failed"))
            service.wait_for("camera_failed", count=failures + 1)
        before = frames_in(kafka, prefix)
        server.start()
        with publishing(video, url):
            service.wait_for("camera_opened", count=2)
            wait_until(lambda: frames_in(kafka, prefix) > before + 3, message="frames flow again")
            assert service.terminate() == 0
        log = service.log_text()
    statuses = read_statuses(kafka.bootstrap_servers, prefix, "till-1")
    states = [status.state for status in statuses]
    assert "online" in states[states.index("online") + 1 :]
    assert (statuses[-1].reason, statuses[-1].reconnects) == ("stopped", 1)
    records = read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    sequences = [parse_frame(record.key, record.headers).sequence for record in records]
    assert sequences == sorted(set(sequences))
    assert "rtsp://***@127.0.0.1" in log
    assert CANARY not in log
    assert not any(CANARY in str((record.headers, record.key)) for record in records)
    assert not any(CANARY in str(status) for status in statuses)


def test_a_camera_that_falls_silent_is_given_up_after_the_read_timeout(
    kafka: KafkaServer, server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    """The server is halted, not killed: its connection stays open and says nothing."""
    url = f"{server.url}/till-1"
    with publishing(video, url), edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"till-1={url}", FRAMEMATCH_KAFKA__TOPIC_PREFIX=new_prefix(),
        FRAMEMATCH_EDGE__READ_TIMEOUT_S="1", **QUICK,
    ) as service:  # fmt: skip
        service.wait_for("camera_opened")
        failures = len(service.events("camera_failed"))
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert service.wait_for("camera_failed", count=failures + 1)["reason"] == "no frame for 1 s"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert service.terminate() == 0


def test_a_camera_that_is_away_disturbs_neither_the_others_nor_the_end(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, images = new_prefix(), write_images(tmp_path / "images", 20)
    away = f"rtsp://user:{CANARY}@127.0.0.1:{free_port()}/x"
    with edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"away={away}", "--camera", f"shelf={images}", "--fps", "50",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix,
    ) as service:  # fmt: skip
        service.wait_for("camera_ended")
        wait_until(lambda: frames_in(kafka, prefix) == 20)
        assert service.terminate() == 0
        assert CANARY not in service.log_text()
    last = read_statuses(kafka.bootstrap_servers, prefix, "away")[-1]
    assert (last.state, last.reason, last.last_frame_age_s) == ("offline", "stopped", None)


def test_sigterm_ends_it_while_a_camera_hangs_in_its_opening(kafka: KafkaServer, tmp_path: Path) -> None:
    """A socket that accepts and never answers, with timeouts longer than the service has time to stop."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        with edge_service(
            tmp_path, kafka.bootstrap_servers, "--camera", f"till-1={url}", FRAMEMATCH_KAFKA__TOPIC_PREFIX=new_prefix(),
            FRAMEMATCH_EDGE__OPEN_TIMEOUT_S="300", FRAMEMATCH_EDGE__READ_TIMEOUT_S="300",
        ) as service:  # fmt: skip
            connection, _ = silent.accept()
            with connection:
                assert service.terminate() == 0


def test_while_kafka_is_away_a_finite_source_waits_and_loses_nothing(tmp_path: Path) -> None:
    broker = KafkaServer(tmp_path / "kafka")
    broker.start()
    try:
        prefix, images = new_prefix(), write_images(tmp_path / "images", 80)
        with edge_service(
            tmp_path, broker.bootstrap_servers, "--camera", f"shelf={images}", "--fps", "20",
            FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix, FRAMEMATCH_EDGE__UNACKNOWLEDGED_MAX="8",
        ) as service:  # fmt: skip
            service.wait_for("camera_opened")
            wait_until(lambda: frames_in(broker, prefix) > 2)
            broker.kill()
            broker.start()
            assert service.exit_code() == 0
        records = read_topic(broker.bootstrap_servers, f"{prefix}.frames")
        assert [parse_frame(record.key, record.headers).sequence for record in records] == list(range(80))
    finally:
        broker.kill()


def test_while_kafka_is_away_a_live_camera_goes_on_and_its_drops_are_counted(
    server: MediaMtxServer, video: Path, tmp_path: Path
) -> None:
    broker = KafkaServer(tmp_path / "kafka")
    broker.start()
    try:
        prefix, url = new_prefix(), f"{server.url}/till-1"
        with publishing(video, url), edge_service(
            tmp_path, broker.bootstrap_servers, "--camera", f"till-1={url}", "--fps", "15",
            FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix, FRAMEMATCH_EDGE__UNACKNOWLEDGED_MAX="4", **QUICK,
        ) as service:  # fmt: skip
            service.wait_for("camera_opened")
            wait_until(lambda: frames_in(broker, prefix) > 2)
            broker.kill()
            broker.start()
            before = frames_in(broker, prefix)
            wait_until(lambda: frames_in(broker, prefix) > before + 10, message="frames flow again")
            assert len(service.events("camera_opened")) == 1
            assert service.terminate() == 0
        sequences = [
            parse_frame(record.key, record.headers).sequence
            for record in read_topic(broker.bootstrap_servers, f"{prefix}.frames")
        ]
        last = read_statuses(broker.bootstrap_servers, prefix, "till-1")[-1]
        assert sequences == sorted(set(sequences))
        assert last.drops["overrun"] > 0
        # What was captured was published or dropped; `stopped` and what never got a number after the last one aside.
        missing = set(range(sequences[-1] + 1)) - set(sequences)
        assert len(missing) <= last.drops["overrun"]
    finally:
        broker.kill()


def test_sigterm_while_kafka_is_away_ends_at_the_deadline_and_says_what_was_left(tmp_path: Path) -> None:
    broker = KafkaServer(tmp_path / "kafka")
    broker.start()
    try:
        prefix, images = new_prefix(), write_images(tmp_path / "images", 10)
        with edge_service(
            tmp_path, broker.bootstrap_servers, "--camera", f"shelf={images}", "--fps", "50", "--loop",
            FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix, FRAMEMATCH_SHUTDOWN_DEADLINE_S="1",
        ) as service:  # fmt: skip
            service.wait_for("camera_opened")
            wait_until(lambda: frames_in(broker, prefix) > 2)
            broker.kill()
            assert service.terminate() == 1
            assert service.wait_for("edge_finished")["unacknowledged"] > 0
            assert "Traceback" not in service.log_text()
    finally:
        broker.kill()
