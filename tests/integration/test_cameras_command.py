"""`framematch cameras` and the doctor's line about them, over a real Kafka."""

import asyncio
import json
from pathlib import Path

import pytest

from framematch.core.events import CameraState, CameraStatus, encode
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.stack.kafka import KafkaServer
from tests.integration.commands import at_terminal, framematch, running, screen
from tests.integration.edge_service import new_prefix
from tests.support import wait_until

pytestmark = pytest.mark.integration

HOUR_US = 3_600_000_000


def status(camera: str, state: CameraState = "online", reason: str | None = None, *, at_us: int = 0) -> CameraStatus:
    return CameraStatus(
        schema="camera-status.v1",
        camera=camera,
        state=state,
        reason=reason,
        at=to_rfc3339(at_us or now_us()),
        source_fps=25.0,
        sent_fps=5.0,
        drops={"overrun": 3},
        last_frame_age_s=0.1,
        reconnects=1,
        interval_s=60.0,
    )


class Cluster:
    """A topic prefix for the test, and its statuses."""

    def __init__(self, kafka: KafkaServer) -> None:
        self.settings = KafkaSettings(
            bootstrap_servers=kafka.bootstrap_servers, topic_prefix=new_prefix(), partitions=1
        )
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "FRAMEMATCH_KAFKA__TOPIC_PREFIX": self.settings.topic_prefix,
        }

    def publish(self, *statuses: CameraStatus, gone: tuple[str, ...] = (), raw: bytes | None = None) -> None:
        async def send() -> None:
            await ensure_topics(self.settings)
            topic = Topics(self.settings.topic_prefix).status
            async with started(new_producer(self.settings), self.settings) as producer:
                for one in statuses:
                    await producer.send_and_wait(topic, encode(one), key=one.camera.encode())
                for camera in gone:
                    await producer.send_and_wait(topic, None, key=camera.encode())
                if raw is not None:
                    await producer.send_and_wait(topic, raw, key=b"odd")

        asyncio.run(send())


@pytest.fixture
def cluster(kafka: KafkaServer) -> Cluster:
    return Cluster(kafka)


def test_without_a_terminal_it_prints_the_latest_statuses_and_exits(cluster: Cluster) -> None:
    cluster.publish(
        status("till-1", "offline", "no frame for 5 s"),
        status("till-2"),
        status("till-1"),
        status("till-3", "offline", "connection refused"),
        status("till-4", at_us=now_us() - HOUR_US),
        status("till-5"),
        gone=("till-5",),
    )
    done = framematch(cluster.environment, "cameras")
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("till-")]
    assert rows == [["till-3", "offline"], ["till-4", "stale"], ["till-1", "online"], ["till-2", "online"]]
    assert "connection refused" in done.stdout
    assert "1 offline, 1 stale, 2 online" in done.stdout


def test_json_once_prints_one_unchanged_status_per_line(cluster: Cluster) -> None:
    published = [status("till-1"), status("till-2", "offline", "ended")]
    cluster.publish(status("till-2"), *published)
    done = framematch(cluster.environment, "cameras", "--once", "--json")
    assert done.returncode == 0, done.stderr
    assert [line.encode() for line in done.stdout.splitlines()] == [encode(published[1]), encode(published[0])]


def test_one_camera_can_be_selected(cluster: Cluster) -> None:
    cluster.publish(status("till-1"), status("till-2"))
    done = framematch(cluster.environment, "cameras", "--camera", "till-2", "--once", "--json")
    assert [json.loads(line)["camera"] for line in done.stdout.splitlines()] == ["till-2"]


def test_without_the_topic_there_is_no_status_and_none_is_created(cluster: Cluster) -> None:
    for _ in range(2):
        done = framematch(cluster.environment, "cameras", "--once")
        assert (done.returncode, done.stdout.strip()) == (
            0, "There is no status of any camera yet: a running edge publishes it",
        )  # fmt: skip


def test_an_invalid_status_is_logged_and_skipped(cluster: Cluster) -> None:
    cluster.publish(status("till-1"), raw=b"no json")
    done = framematch(cluster.environment, "cameras", "--once", "--json")
    assert [json.loads(line)["camera"] for line in done.stdout.splitlines()] == ["till-1"]
    assert "status_unreadable" in done.stderr


def test_without_kafka_it_is_one_clear_line(dead_address: str) -> None:
    done = framematch({"KAFKA_BOOTSTRAP_SERVERS": dead_address}, "cameras", "--once")
    assert done.returncode == 1
    assert "Kafka does not answer at 127.0.0.1:" in done.stderr


def test_json_prints_each_new_status_even_when_the_topic_is_created_later(cluster: Cluster, tmp_path: Path) -> None:
    output = tmp_path / "output"

    def seen() -> list[tuple[str, str]]:
        found = [json.loads(line) for line in output.read_text().splitlines()]
        return [(one["camera"], one["state"]) for one in found]

    with output.open("wb") as file, running(cluster.environment, "cameras", "--json", stdout=file.fileno()):
        cluster.publish(status("till-1"))
        wait_until(lambda: seen() == [("till-1", "online")], timeout_s=60)
        cluster.publish(status("till-1", "offline", "ended"), status("till-2"))
        wait_until(lambda: seen()[1:] == [("till-1", "offline"), ("till-2", "online")], timeout_s=60)


def test_at_a_terminal_the_table_is_updated(cluster: Cluster) -> None:
    with screen() as terminal, running(at_terminal(cluster.environment), "cameras", stdout=terminal.theirs):
        wait_until(lambda: terminal.shows("waiting for the topic"), timeout_s=60)
        cluster.publish(status("till-1"))
        wait_until(lambda: terminal.shows("till-1", "1 online"), timeout_s=60)
        cluster.publish(status("till-1", "offline", "camera unplugged"), status("till-2"))
        wait_until(lambda: terminal.shows("camera unplugged", "till-2", "1 offline, 1 online"), timeout_s=60)
        cluster.publish(gone=("till-1",))
        wait_until(lambda: terminal.shows("till-2", "1 online") and not terminal.shows("till-1"), timeout_s=60)


def test_the_doctor_counts_cameras(cluster: Cluster) -> None:
    wide = {**cluster.environment, "COLUMNS": "200"}
    assert "no status of any" in framematch(wide, "doctor").stdout
    cluster.publish(status("till-1"), status("till-2", "offline", "ended"), status("till-3", at_us=now_us() - HOUR_US))
    said = framematch(wide, "doctor").stdout
    assert "1 offline, 1 stale, 1 online" in said
    assert "Run framematch cameras" in said
