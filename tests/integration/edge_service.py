"""`framematch edge` as a real process, and what it leaves in Kafka, for the tests of the edge."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from aiokafka import ConsumerRecord
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from framematch.core.events import CameraStatus, decode
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.settings import KafkaSettings
from tests.preloaded.process import PreloadedProcess, start
from tests.support import wait_until

Start = Callable[..., "subprocess.Popen[bytes] | PreloadedProcess"]
"""As `preloaded.process.start`."""


def total(samples: list[Sample], name: str, **labels: str) -> float:
    """Sum of a metric's samples that have these labels; `name` without `framematch_edge_`."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == f"framematch_edge_{name}" and labels.items() <= sample.labels.items()
    )


class EdgeService:
    """A running edge service and its log."""

    def __init__(self, process: subprocess.Popen[bytes] | PreloadedProcess, log_file: Path) -> None:
        self.process = process
        self._log_file = log_file

    def log_text(self) -> str:
        return self._log_file.read_text(encoding="utf-8")

    def events(self, event: str) -> list[dict[str, Any]]:
        whole, _, _half_written = self.log_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def wait_for(self, event: str, *, count: int = 1) -> dict[str, Any]:
        """The `count`th log line of this event."""
        wait_until(lambda: len(self.events(event)) >= count, timeout_s=60, message=f"{event} in {self.log_text()}")
        return self.events(event)[count - 1]

    def scrape(self) -> list[Sample]:
        """All samples of one scrape."""
        url = self.wait_for("http_listening")["url"]
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310  # our own service's
            families = text_string_to_metric_families(answer.read().decode())
        return [sample for family in families for sample in family.samples]

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that have these labels; `name` without `framematch_edge_`."""
        return total(self.scrape(), name, **labels)

    def camera_process(self, camera: str) -> int | None:
        """Id of the camera's process now."""
        title = f"framematch camera {camera}"
        children = [pid for pid in process_tree(self.process.pid) if command_line(pid).startswith(title)]
        return children[0] if children else None

    def wait_for_camera_process(self, camera: str, *, other_than: int | None = None) -> int:
        wait_until(lambda: self.camera_process(camera) not in (None, other_than), message=f"a process of {camera}")
        pid = self.camera_process(camera)
        assert pid is not None
        return pid

    def kill(self) -> None:
        """SIGKILL, as `kill -9` does."""
        self.process.kill()
        self.process.wait(60)

    def exit_code(self) -> int:
        return self.process.wait(60)

    def terminate(self) -> int:
        self.process.terminate()
        return self.exit_code()


@contextmanager
def edge_service(
    folder: Path, bootstrap_servers: str, *arguments: str, start: Start = start, **environment: str
) -> Iterator[EdgeService]:
    """Run `framematch edge` with these arguments; `environment` overrides settings. Killed at the end."""
    log_file = folder / f"edge-{uuid.uuid4().hex[:8]}.log"
    settings = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, "FRAMEMATCH_KAFKA__PARTITIONS": "3", **environment}
    with (
        log_file.open("wb") as log,
        Path(os.devnull).open() as nothing,
        start(
            "edge", *arguments, environment={**os.environ, **settings},
            stdin=nothing.fileno(), stdout=log.fileno(), stderr=log.fileno(),
        ) as process,
    ):  # fmt: skip
        try:
            yield EdgeService(process, log_file)
        finally:
            process.kill()


@contextmanager
def quick_edge(
    folder: Path, bootstrap_servers: str, prefix: str, cameras: dict[str, str], **environment: str
) -> Iterator[EdgeService]:
    """The same by camera id and source, with short delays between retries, and a status each second."""
    arguments = [part for name, source in cameras.items() for part in ("--camera", f"{name}={source}")]
    quick = {
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": prefix,
        "FRAMEMATCH_EDGE__BACKOFF_INITIAL_S": "0.1",
        "FRAMEMATCH_EDGE__BACKOFF_MAX_S": "0.2",
        "FRAMEMATCH_EDGE__STATUS_INTERVAL_S": "1",
    }
    with edge_service(folder, bootstrap_servers, *arguments, start=start, **{**quick, **environment}) as service:
        yield service


@contextmanager
def publishing(video: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Play `video` to the RTSP server at `url` in a loop."""
    with subprocess.Popen([sys.executable, "-m", "demo.publisher", str(video), url, "--loop"]) as process:
        try:
            yield process
        finally:
            process.kill()


def process_tree(root: int) -> list[int]:
    """`root` and all living processes below it."""
    parents = dict(_living_processes())
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def command_line(pid: int) -> str:
    """As `ps` shows it; empty when the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _living_processes() -> Iterator[tuple[int, int]]:
    """Each living process and its parent."""
    for entry in Path("/proc").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            if entry.name.isdigit():
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    yield int(entry.name), int(parent)


def new_prefix() -> str:
    """A topic prefix that no other test uses."""
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
