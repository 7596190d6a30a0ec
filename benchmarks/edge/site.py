"""Where the edge is measured: a Kafka broker, an RTSP server that plays videos, and `framematch edge` processes."""

import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kafka import TidyKafka
from benchmarks.processes import running_framematch
from demo.services import Service, service_environment
from framematch.core.errors import FramematchError
from framematch.core.settings import KafkaSettings
from stack.kafka import KafkaServer
from stack.mediamtx import MediaMtxServer
from stack.process import Command, ServerProcess
from stack.up import running_servers

_MIN_FRAMES = 5
_DEADLINE_S = 60.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Site:
    """Running servers; all files are below `folder`."""

    kafka: KafkaServer
    rtsp: MediaMtxServer
    folder: Path

    def new_topics(self) -> KafkaSettings:
        """Settings with a new topic prefix; no topic is created."""
        return KafkaSettings(
            bootstrap_servers=self.kafka.bootstrap_servers, topic_prefix=f"benchmark-{uuid.uuid4().hex[:8]}"
        )


@contextmanager
def running_site(folder: Path, _model: str = "") -> Iterator[Site]:
    """Both servers while the block runs; data and logs are below `folder`."""
    site = Site(TidyKafka(folder / "kafka"), MediaMtxServer(folder / "mediamtx"), folder)
    with running_servers((site.kafka, site.rtsp), data_dir=folder, report=print):
        yield site


@contextmanager
def playing(site: Site, video: Path, name: str) -> Iterator[str]:
    """Publish `video` in real time again and again; the block gets its URL, which can be read a moment later."""
    url = f"{site.rtsp.url}/{name}"
    command = Command((sys.executable, "-m", "demo.publisher", str(video), url, "--loop"))
    publisher = ServerProcess(command, site.folder / f"stream-{name}.log")
    try:
        yield url
    finally:
        publisher.kill()


@dataclass(frozen=True)
class Edge:
    """A running `framematch edge` with cameras that all read the same stream."""

    service: Service
    cameras: int
    kafka: KafkaSettings

    def total(self, metric: str, **labels: str) -> float:
        """The sum over a metric's labels; 0 without samples."""
        return sum(self.service.metric(f"framematch_edge_{metric}", **labels))

    def wait_until_frames_flow(self) -> None:
        """Return when Kafka has acknowledged some frames of every camera."""
        deadline_s = time.monotonic() + _DEADLINE_S
        names = [f"camera-{number}" for number in range(1, self.cameras + 1)]
        while any(self.total("frames_published_total", camera=name) < _MIN_FRAMES for name in names):
            self.service.check()
            if time.monotonic() > deadline_s:
                raise FramematchError(f"not all of {self.cameras} cameras sent frames within {_DEADLINE_S:g} s")
            time.sleep(_POLL_S)


@contextmanager
def running_edge(site: Site, url: str, *, cameras: int) -> Iterator[Edge]:
    """`framematch edge` with `cameras` cameras `camera-1` ... that all read `url`.

    Topics, spool and state are its own. Frames of all cameras are in Kafka when the block begins.
    """
    kafka = site.new_topics()
    arguments = [f"--camera=camera-{number}={url}" for number in range(1, cameras + 1)]
    environment = {
        **service_environment(site.folder / kafka.topic_prefix),
        "KAFKA_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers),
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "FRAMEMATCH_LOG__FORMAT": "json",
    }
    log_file = site.folder / f"{kafka.topic_prefix}.log"
    with running_framematch("edge", *arguments, environment=environment, log_file=log_file) as service:
        edge = Edge(service, cameras, kafka)
        service.wait_ready()
        edge.wait_until_frames_flow()
        yield edge
