"""Where the edge is measured: a Kafka broker, an RTSP server that plays videos, and `framematch edge` processes."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kafka import BenchmarkKafka
from benchmarks.processes import running_framematch
from demo.services import Service, service_environment
from framematch.core.errors import FramematchError
from framematch.core.settings import KafkaSettings
from framematch.stack.mediamtx import MediaMtxServer
from framematch.stack.process import Command, ServerProcess
from framematch.stack.up import running_servers

_MIN_FRAMES = 5
_DEADLINE_S = 60.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Site:
    """Running servers; all files are below `folder`."""

    kafka: BenchmarkKafka
    rtsp: MediaMtxServer
    folder: Path


@contextmanager
def running_site(folder: Path, _model: str = "") -> Iterator[Site]:
    """Both servers while the block runs; data and logs are below `folder`."""
    site = Site(BenchmarkKafka(folder / "kafka"), MediaMtxServer(folder / "mediamtx"), folder)
    with running_servers((site.kafka, site.rtsp), data_dir=folder, report=print):
        yield site


@contextmanager
def playing(site: Site, video: Path, name: str = "") -> Iterator[str]:
    """Play `video` in real time again and again; yields its RTSP URL, which can be read a moment later.

    Without a `name` the stream has that of the file.
    """
    url = f"{site.rtsp.url}/{name or video.stem}"
    command = Command((sys.executable, "-m", "demo.publisher", str(video), url, "--loop"))
    publisher = ServerProcess(command, site.folder / "publisher.log")
    try:
        yield url
    finally:
        publisher.kill()


@contextmanager
def running_edge(site: Site, kafka: KafkaSettings, url: str, *, cameras: int) -> Iterator[Service]:
    """`framematch edge` on the topics of `kafka` with cameras `camera-1`, `camera-2` ... that all read `url`.

    Frames of all cameras are in Kafka when the block starts.
    """
    names = [f"camera-{number}" for number in range(1, cameras + 1)]
    with starting_edge(site, kafka, dict.fromkeys(names, url)) as service:
        service.wait_ready()
        deadline_s = time.monotonic() + _DEADLINE_S
        while any(sum(service.metric("framematch_edge_frames_published_total", camera=n)) < _MIN_FRAMES for n in names):
            service.check()
            if time.monotonic() > deadline_s:
                raise FramematchError(f"not all of {cameras} cameras sent frames within {_DEADLINE_S:g} s")
            time.sleep(_POLL_S)
        yield service


@contextmanager
def starting_edge(site: Site, kafka: KafkaSettings, sources: Mapping[str, str]) -> Iterator[Service]:
    """`framematch edge` on the topics of `kafka` with these sources by camera; it has just been started."""
    environment = {
        **service_environment(site.folder / kafka.topic_prefix),
        "KAFKA_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers),
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "FRAMEMATCH_KAFKA__FRAMES_RETENTION_MINUTES": str(kafka.frames_retention_minutes),
    }
    log_file = site.folder / f"{kafka.topic_prefix}.log"
    arguments = [f"--camera={camera}={source}" for camera, source in sources.items()]
    with running_framematch("edge", *arguments, environment=environment, log_file=log_file) as service:
        yield service
