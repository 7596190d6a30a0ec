"""Where the edge is measured: a Kafka broker, an RTSP server that plays videos, and `framematch edge` processes."""

import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.forgetful_kafka import ForgetfulKafka
from benchmarks.processes import tree_cpu_s, tree_pss_mb
from demo.services import Service, service_environment
from framematch.core.errors import CameraUnavailableError, FramematchError
from framematch.core.settings import KafkaSettings
from stack.kafka import KafkaServer
from stack.mediamtx import MediaMtxServer
from stack.process import Command, ServerProcess
from stack.server import LOOPBACK, free_port
from stack.up import running_servers

_FLOWS_FRAMES = 5
_DEADLINE_S = 60.0
_POLL_S = 0.1
_ASK_AGAIN_S = 0.02
_CONNECTION_S = 2.0


@dataclass(frozen=True)
class Site:
    """Running servers; all files are below `folder`."""

    kafka: KafkaServer
    rtsp: MediaMtxServer
    folder: Path

    def new_topics(self) -> KafkaSettings:
        """Settings with a topic prefix that nobody has used; nothing is created."""
        return KafkaSettings(
            bootstrap_servers=self.kafka.bootstrap_servers, topic_prefix=f"benchmark-{uuid.uuid4().hex[:8]}"
        )


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Both servers while the block runs, whatever it restarts; data and logs are below `folder`."""
    site = Site(ForgetfulKafka(folder / "kafka"), MediaMtxServer(folder / "mediamtx"), folder)
    folder.mkdir(parents=True, exist_ok=True)
    with running_servers((site.kafka, site.rtsp), data_dir=folder, report=print):
        yield site


class Stream:
    """A video, published in real time, again and again. It can be killed and started anew."""

    def __init__(self, site: Site, video: Path, name: str) -> None:
        self.url = f"{site.rtsp.url}/{name}"
        self._command = Command((sys.executable, "-m", "demo.publisher", str(video), self.url, "--loop"))
        self._log_file = site.folder / f"stream-{name}.log"
        self._publisher: ServerProcess | None = None

    def start(self) -> float:
        """Publish it; the moment when it could first be read, by the monotonic clock.

        Raises:
            CameraUnavailableError: nobody can read it.
        """
        self._publisher = ServerProcess(self._command, self._log_file)
        return wait_readable(self.url)

    def kill(self) -> None:
        """End its publisher by SIGKILL, if it runs."""
        if self._publisher is not None:
            self._publisher.kill()


@contextmanager
def playing(site: Site, video: Path, name: str) -> Iterator[Stream]:
    """`video` as the stream `name` while the block runs; it can be read when the block begins.

    Raises:
        CameraUnavailableError: nobody can read it.
    """
    stream = Stream(site, video, name)
    try:
        stream.start()
        yield stream
    finally:
        stream.kill()


def wait_readable(url: str) -> float:
    """When the stream could first be read, by the monotonic clock: RTSP DESCRIBE answers 200.

    Raises:
        CameraUnavailableError: not within a minute.
    """
    deadline_s = time.monotonic() + _DEADLINE_S
    while not _describes(url):
        if time.monotonic() > deadline_s:
            raise CameraUnavailableError(f"{url} could not be read for {_DEADLINE_S:g} s")
        time.sleep(_ASK_AGAIN_S)
    return time.monotonic()


def _describes(url: str) -> bool:
    host, _, port = url.removeprefix("rtsp://").partition("/")[0].rpartition(":")
    request = f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    try:
        with socket.create_connection((host, int(port)), _CONNECTION_S) as connection:
            connection.sendall(request.encode())
            return connection.recv(4096).startswith(b"RTSP/1.0 200")
    except OSError:
        return False


@dataclass(frozen=True)
class Edge:
    """A running `framematch edge`: `pid` is its service, whose children its cameras may be."""

    service: Service
    pid: int
    cameras: int
    kafka: KafkaSettings

    def cpu_s(self) -> float:
        """CPU seconds so far of the service and all its processes."""
        self.service.check()
        return tree_cpu_s(self.pid)

    def pss_mb(self) -> float:
        """Memory of the service and all its processes, in 1e6 bytes."""
        self.service.check()
        return tree_pss_mb(self.pid)

    def total(self, metric: str, **labels: str) -> float:
        """The sum over a metric's labels; 0 where it has no samples yet."""
        return sum(self.service.metric(f"framematch_edge_{metric}", **labels))

    def wait_until_frames_flow(self) -> None:
        """Return when Kafka has acknowledged some more frames of every camera.

        Raises:
            FramematchError: not within a minute, or the service has ended.
        """
        deadline_s = time.monotonic() + _DEADLINE_S
        before = self._published()
        while not self._flows(before):
            self.service.check()
            if time.monotonic() > deadline_s:
                raise FramematchError(f"not all of {self.cameras} cameras sent frames within {_DEADLINE_S:g} s")
            time.sleep(_POLL_S)

    def _flows(self, before: Mapping[str, float]) -> bool:
        now = self._published()
        return all(frames - before.get(camera, 0) >= _FLOWS_FRAMES for camera, frames in now.items())

    def _published(self) -> dict[str, float]:
        names = (f"camera-{number}" for number in range(1, self.cameras + 1))
        return {name: self.total("frames_published_total", camera=name) for name in names}


@contextmanager
def running_edge(site: Site, url: str, *, cameras: int, **settings: str) -> Iterator[Edge]:
    """`framematch edge` with `cameras` cameras `camera-1` … that all read `url`; `settings` are environment variables.

    Topics, spool and state are its own. Frames of all cameras are in Kafka when the block begins.
    """
    kafka, port = site.new_topics(), free_port()
    arguments = [f"--camera=camera-{number}={url}" for number in range(1, cameras + 1)]
    environment = {
        **service_environment(site.folder / kafka.topic_prefix),
        "KAFKA_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers),
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "FRAMEMATCH_HTTP__PORT": str(port),
        "FRAMEMATCH_LOG__FORMAT": "json",
        **settings,
    }
    command = Command((sys.executable, "-m", "framematch", "edge", *arguments), environment)
    process = ServerProcess(command, site.folder / f"{kafka.topic_prefix}.log")
    try:
        edge = Edge(Service(process, "edge", f"http://{LOOPBACK}:{port}"), process.pid, cameras, kafka)
        edge.service.wait_ready()
        edge.wait_until_frames_flow()
        yield edge
    finally:
        process.stop()
