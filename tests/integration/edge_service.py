"""`framematch edge` as a real process, and what it leaves in Kafka, for the tests of the edge."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from aiokafka import ConsumerRecord

from framematch.core.events import CameraStatus, decode
from framematch.core.kafka import new_consumer, started
from framematch.core.settings import KafkaSettings
from tests.support import wait_until


class EdgeService:
    """A running edge service and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.process = process
        self._log_file = log_file

    def log_text(self) -> str:
        return self._log_file.read_text(encoding="utf-8")

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def wait_for(self, event: str, *, count: int = 1) -> dict[str, Any]:
        """The `count`th log line of this event."""
        wait_until(lambda: len(self.events(event)) >= count, timeout_s=60, message=f"{event} in {self.log_text()}")
        return self.events(event)[count - 1]

    def exit_code(self) -> int:
        return self.process.wait(60)

    def terminate(self) -> int:
        self.process.terminate()
        return self.exit_code()


@contextmanager
def edge_service(folder: Path, bootstrap_servers: str, *arguments: str, **environment: str) -> Iterator[EdgeService]:
    """Run `framematch edge` with these arguments; `environment` overrides settings. Killed at the end."""
    log_file = folder / f"edge-{uuid.uuid4().hex[:8]}.log"
    settings = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, "FRAMEMATCH_KAFKA__PARTITIONS": "3", **environment}
    with (
        log_file.open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "framematch", "edge", *arguments],
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield EdgeService(process, log_file)
        finally:
            process.kill()


def new_prefix() -> str:
    """A topic prefix of the test's own."""
    return f"edge-{uuid.uuid4().hex[:8]}"


def read_topic(bootstrap_servers: str, topic: str) -> list[ConsumerRecord]:
    """All records that are in `topic` now; by partition, each in order."""

    async def read() -> list[ConsumerRecord]:
        settings = KafkaSettings(bootstrap_servers=bootstrap_servers)
        found: list[ConsumerRecord] = []
        # Without a group it gets all partitions at once.
        async with started(new_consumer(settings, topic, auto_offset_reset="earliest"), settings) as consumer:
            for partition, end in (await consumer.end_offsets(list(consumer.assignment()))).items():
                while await consumer.position(partition) < end:
                    found += (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, [])
        return found

    return asyncio.run(read())


def read_statuses(bootstrap_servers: str, prefix: str, camera: str) -> list[CameraStatus]:
    """All statuses of `camera`, oldest first."""
    records = read_topic(bootstrap_servers, f"{prefix}.status")
    return [decode(record.value, CameraStatus) for record in records if record.key == camera.encode()]


def write_images(folder: Path, count: int, *, side: int = 64) -> Path:
    """`count` pictures named in order, each of one grey level: 3 * its number."""
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:04d}.png"), np.full((side, side, 3), 3 * number, np.uint8))
    return folder


def write_video(path: Path, *, seconds: int, fps: int = 30, width: int = 320, height: int = 240) -> Path:
    """An H.264 file whose frames grow brighter."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": str(fps), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * fps):
            picture = np.full((height, width, 3), 255 * number // (seconds * fps), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def grey_level(jpeg: bytes) -> float:
    """Mean of all pixels."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return float(np.mean(picture))
