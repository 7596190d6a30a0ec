"""A real edge that follows the topic of wanted cameras on a real broker."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from framematch.core.camera_settings import WantedCamera, WantedSource, encode_wanted
from framematch.core.events import CameraStatus
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.sealing import SourceSeal
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import (
    EdgeService,
    command_line,
    new_prefix,
    process_tree,
    quick_edge,
    read_statuses,
    read_topic,
)
from tests.integration.endless_camera import endless_camera
from tests.integration.rtsp_camera import RtspCamera
from tests.support import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("untraced_processes")]

CANARY = "hunter2-canary"
KEY, OTHER_KEY = (Fernet.generate_key().decode() for _ in range(2))


@pytest.fixture(name="camera", scope="module")
def _camera() -> Iterator[RtspCamera]:
    with endless_camera(CANARY) as camera:
        yield camera


class Site:
    """A topic of wanted cameras, and the edge that follows it."""

    def __init__(self, kafka: KafkaServer, folder: Path, camera: RtspCamera) -> None:
        self.prefix = new_prefix()
        self.kafka = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=self.prefix)
        self.topic = Topics(self.prefix).cameras
        self.folder = folder
        self.source = camera.url.replace("rtsp://", f"rtsp://user:{CANARY}@")
        self.environment = {
            "FRAMEMATCH_STATE_DIR": str(folder / "state"),
            "FRAMEMATCH_EDGE__NAME": "shop-1",
            "FRAMEMATCH_EDGE__FOLLOW": "kafka",
            "FRAMEMATCH_EDGE__FOLLOW_HOSTS": json.dumps(["127.0.0.0/8"]),
            "FRAMEMATCH_CAMERAS_KEY": KEY,
            "LOG_LEVEL": "debug",
        }
        asyncio.run(ensure_topics(self.kafka))

    def want(self, *values: tuple[str, bytes | None]) -> None:
        """Write records to the topic."""

        async def send() -> None:
            async with started(new_producer(self.kafka), self.kafka) as producer:
                for camera, value in values:
                    await producer.send_and_wait(self.topic, value, key=camera.encode())

        asyncio.run(send())

    def record(self, camera: str, generation: int, *, key: str = KEY, **settings: Any) -> tuple[str, bytes]:
        source = WantedSource("shown", sealed=SourceSeal(SecretStr(key)).seal(camera, self.source))
        at = "2026-01-01T00:00:00.000000Z"
        return camera, encode_wanted(
            WantedCamera("camera-settings.v1", camera, generation, at, "shop-1", source, settings)
        )

    def status(self, camera: str) -> CameraStatus | None:
        found = read_statuses(self.kafka.bootstrap_servers or "", self.prefix, camera)
        return found[-1] if found else None

    def wait_for_status(self, camera: str, **values: object) -> CameraStatus:
        def fits() -> bool:
            status = self.status(camera)
            return status is not None and all(getattr(status, name) == value for name, value in values.items())

        wait_until(fits, timeout_s=60, message=f"{camera} {values}")
        found = self.status(camera)
        assert found is not None
        return found


@pytest.fixture(name="site")
def _site(kafka: KafkaServer, tmp_path: Path, camera: RtspCamera) -> Site:
    return Site(kafka, tmp_path, camera)


def has_tombstone(site: Site, camera: str) -> bool:
    records = read_topic(site.kafka.bootstrap_servers or "", f"{site.prefix}.status")
    return [record.value for record in records if record.key == camera.encode()][-1:] == [None]


def everything_shown(site: Site, service: EdgeService, processes: dict[int, str]) -> str:
    """All that somebody without rights could see: log, processes, topics, files of the state folder."""
    topics = [
        (record.value, record.headers)
        for name in ("cameras", "status")
        for record in read_topic(site.kafka.bootstrap_servers or "", f"{site.prefix}.{name}")
    ]
    files = [path.read_bytes() for path in (site.folder / "state").rglob("*.json")]
    assert topics
    assert files
    return f"{service.log_text()}{processes}{topics}{files}"


def test_cameras_are_added_changed_refused_and_removed_by_the_topic_and_no_other_one_is_touched(site: Site) -> None:
    """Elsewhere an added camera restarts all (frigate#3973, motioneye#3041), a removed one runs on (open-nvr#243)."""
    servers = site.kafka.bootstrap_servers or ""
    with quick_edge(site.folder, servers, site.prefix, {}, **site.environment) as service:
        service.wait_for("kafka_connected")
        site.want(site.record("till-1", 1))
        site.wait_for_status("till-1", state="online", generation=1, refused=None, edge="shop-1")
        kept = service.wait_for_camera_process("till-1")

        site.want(site.record("till-2", 2), site.record("till-3", 3, key=OTHER_KEY), ("till-4", b"\xff"))
        site.wait_for_status("till-2", state="online", generation=2)
        wrong = site.wait_for_status("till-3", state="offline")
        assert wrong.refused is not None
        assert (wrong.refused.generation, wrong.generation) == (3, None)
        assert "sealed with another key" in wrong.refused.reason
        assert "cameras_key" in wrong.refused.hint

        before = service.wait_for_camera_process("till-2")
        site.want(site.record("till-2", 4, jpeg_quality=50))
        site.wait_for_status("till-2", state="online", generation=4)
        assert service.wait_for_camera_process("till-2", other_than=before) != before
        site.want(site.record("till-2", 5, fps=-1))
        assert site.wait_for_status("till-2", generation=4).state == "online"
        wait_until(lambda: (status := site.status("till-2")) and status.refused, message="till-2 is refused")

        processes = {pid: command_line(pid) for pid in process_tree(service.process.pid)}
        site.want(("till-2", None), ("till-3", None))
        wait_until(lambda: has_tombstone(site, "till-2") and has_tombstone(site, "till-3"), timeout_s=60)
        assert service.camera_process("till-2") is None
        assert service.camera_process("till-1") == kept
        assert service.terminate() == 0
        assert CANARY not in everything_shown(site, service, processes)
        assert KEY not in service.log_text()


def test_an_edge_that_was_killed_runs_its_last_known_cameras_while_kafka_is_away(site: Site, dead_address: str) -> None:
    servers = site.kafka.bootstrap_servers or ""
    site.want(site.record("till-1", 1))
    with quick_edge(site.folder, servers, site.prefix, {}, **site.environment) as service:
        site.wait_for_status("till-1", state="online", generation=1)
        service.kill()
    with quick_edge(site.folder, dead_address, site.prefix, {}, **site.environment) as service:
        service.wait_for("camera_opened")
        wait_until(lambda: service.metric("frames_captured_total", camera="till-1") > 2, timeout_s=60)
        service.kill()
        assert CANARY not in service.log_text()
