"""Runs the commands of a user as processes that cannot outlive the demo."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from demo.calibration import draw_calibration
from demo.dataset import DATA_DIR
from framematch.catalog.snapshots.calibration import Calibration
from framematch.core.errors import FramematchError
from framematch.core.local_stack import LocalStack
from framematch.core.settings_environment import known_environment_names
from framematch.stack.process import Command, ServerProcess
from framematch.stack.server import ReservedPort

STATED_RATE = 0.1
"""With the 176 photos that calibrate, the realised share of a stated 10 % is known to about 5 points."""
_READY_TIMEOUT_S = 30.0
_POLL_S = 0.1
_LOG_TAIL_LINES = 12
_MODULE = (sys.executable, "-m", "framematch")


def service_environment(state: Path, stack: LocalStack | None = None) -> dict[str, str]:
    """The environment of a command that uses `stack`, without the caller's own settings."""
    kept = {"FRAMEMATCH_CACHE_DIR"}
    inherited = {k: v for k, v in os.environ.items() if k in kept or k not in known_environment_names()}
    environment = {**inherited, "FRAMEMATCH_STATE_DIR": str(state)}
    if stack is None:
        return environment
    addresses = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "MONGODB_URI": stack.mongodb_uri,
        "TRITON_URL": stack.triton_url,
    }
    return environment | {name: address for name, address in addresses.items() if address}


def run_framematch(*arguments: str, environment: Mapping[str, str]) -> None:
    """Run `framematch …`, showing the command and its output.

    Raises:
        FramematchError: it failed and has printed why.
    """
    print(f"\n$ framematch {' '.join(arguments)}", flush=True)
    done = subprocess.run([*_MODULE, *arguments], env=dict(environment), check=False)
    if done.returncode:
        raise FramematchError(f"framematch {arguments[0]} ended with exit code {done.returncode}")


def fill_catalogue(environment: Mapping[str, str]) -> None:
    """Import the demo's products and build their index.

    Raises:
        FramematchError: a command failed and has printed why.
    """
    products = str(DATA_DIR / "catalog.csv")
    run_framematch("catalog", "import", products, "--images", str(DATA_DIR), environment=environment)
    run_framematch("catalog", "build", environment=environment)


def calibrate(environment: Mapping[str, str], cameras: Sequence[int], folder: Path) -> None:
    """State error rates, by frames of these cameras, which are drawn into `folder`.

    Raises:
        FramematchError: the command failed and has printed why.
    """
    draw_calibration(cameras, folder)
    run_framematch("catalog", "calibrate", "--rate", str(STATED_RATE), "--frames", str(folder), environment=environment)


def active_calibration(environment: Mapping[str, str]) -> Calibration:
    """What the active snapshot states.

    Raises:
        FramematchError: it cannot be read, or states nothing.
    """
    command = [*_MODULE, "catalog", "show", "--json"]
    done = subprocess.run(command, env=dict(environment), check=False, capture_output=True, text=True)
    if done.returncode:
        raise FramematchError(f"framematch catalog show ended with exit code {done.returncode}: {done.stderr}")
    try:
        return msgspec.json.decode(done.stdout, type=_Shown).manifest.calibration
    except msgspec.DecodeError as error:
        raise FramematchError(f"the active snapshot states no rates: {error}") from error


@dataclass(frozen=True)
class _Calibrated:
    calibration: Calibration


@dataclass(frozen=True)
class _Shown:
    """What `framematch catalog show --json` prints, as far as it is used."""

    manifest: _Calibrated


class Service:
    """A running `framematch edge`, `consume`, `api` or `archive` with its HTTP endpoint."""

    def __init__(self, process: ServerProcess, name: str, url: str) -> None:
        self._process = process
        self._name = name
        self._url = url

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until /readyz reports that it is ready.

        Raises:
            FramematchError: it ended, or was not ready in time; the message has the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self._answers("/readyz"):
            self.check()
            if time.monotonic() > deadline:
                raise self._error(f"was not ready within {timeout_s:.0f} s")
            time.sleep(_POLL_S)

    @property
    def running(self) -> bool:
        """Whether its process is running."""
        return self._process.running

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Its log so far."""
        return self._process.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def url(self) -> str:
        """Its base URL."""
        return self._url

    def check(self) -> None:
        """Raise FramematchError, with the end of its log, when the process has ended."""
        if not self.running:
            raise self._error(f"ended with exit code {self._process.exit_code}")

    def samples(self) -> list[Sample]:
        """All metrics of one scrape."""
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=5) as response:  # noqa: S310  # our own loopback URL
            text = response.read().decode()
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def metric(self, name: str, **labels: str) -> list[float]:
        """The current values of a metric, one for each set of labels that includes these."""
        return [s.value for s in self.samples() if s.name == name and labels.items() <= s.labels.items()]

    def readiness(self) -> dict[str, str]:
        """The state of each part from /readyz: `ok`, or why it is not ready."""
        try:
            response = urllib.request.urlopen(f"{self._url}/readyz", timeout=5)  # noqa: S310  # our own loopback URL
        except urllib.error.HTTPError as unready:
            response = unready
        with response:
            parts: dict[str, str] = json.loads(response.read())
        return parts

    def stop(self) -> None:
        """Send SIGTERM, and wait until it has finished what is in flight.

        Raises:
            FramematchError: the exit code was not 0.
        """
        if self.terminate() != 0:
            raise self._error(f"ended with exit code {self._process.exit_code}")

    def terminate(self) -> int | None:
        """Send SIGTERM, and SIGKILL after half a minute; returns the exit code."""
        self._process.stop(deadline_s=30.0)
        return self._process.exit_code

    def kill(self) -> None:
        """Send SIGKILL: nothing is finished, nothing is committed."""
        self._process.kill()

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}{path}", timeout=1):  # noqa: S310  # our own loopback URL
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def _error(self, what: str) -> FramematchError:
        lines = self.log.splitlines()
        tail = "\n".join(lines[-_LOG_TAIL_LINES:])
        return FramematchError(f"framematch {self._name} {what}. The end of its log:\n{tail}")


@contextmanager
def running_service(
    *arguments: str,
    environment: Mapping[str, str],
    logs: Path,
    start: Callable[[Command, Path], ServerProcess] = ServerProcess,
) -> Iterator[Service]:
    """Run `framematch …` in the background inside the context, logging to `logs`."""
    name, port = arguments[0], ReservedPort()
    print(f"\n$ framematch {' '.join(arguments)} &", flush=True)
    ports = dict.fromkeys(
        ("FRAMEMATCH_HTTP__PORT", "FRAMEMATCH_API__PORT"), str(port.number)
    )  # a service has one of both
    command = Command((*_MODULE, *arguments), {**environment, **ports})
    process = start(command, logs / f"{name}.log")
    try:
        yield Service(process, name, f"http://{port.address}")
    finally:
        process.stop()


@contextmanager
def running_publisher(feed: Path, url: str, logs: Path) -> Iterator[ServerProcess]:
    """Run one camera inside the context: publish `feed` to the RTSP server at `url` once, in real time."""
    command = Command((sys.executable, "-m", "demo.publisher", str(feed), url))
    process = ServerProcess(command, logs / f"camera-{url.rsplit('/', 1)[1]}.log")
    try:
        yield process
    finally:
        process.stop()
