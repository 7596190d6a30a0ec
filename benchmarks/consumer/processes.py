"""`framematch consume` as processes of one group, which can be frozen while their topic is filled."""

import os
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import tree_cpu_s
from demo.services import Service
from stack.process import Command, ServerProcess
from stack.server import ReservedPort


@dataclass(frozen=True)
class Consumers:
    """All members of one group."""

    members: tuple[Service, ...]

    def check(self) -> None:
        """Raise FramematchError, with the end of its log, when one has ended."""
        for member in self.members:
            member.check()

    def cpu_s(self) -> float:
        """CPU seconds that all of them have used so far."""
        self.check()
        return sum(tree_cpu_s(member.pid) for member in self.members)

    def total(self, metric: str, **labels: str) -> float:
        """The sum of a metric `framematch_consumer_…` over members and labels; 0 where it has no samples yet."""
        name = f"framematch_consumer_{metric}"
        return sum(sum(member.metric(name, **labels)) for member in self.members)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nobody works while the block runs, and nobody notices, if it takes a few seconds: they keep their partitions.

        So all of them begin at the same moment, with a topic that is full.
        """
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM to all, and wait until each has finished what is in flight.

        Raises:
            FramematchError: one did not end with exit code 0.
        """
        with ThreadPoolExecutor(len(self.members)) as threads:
            for stopped in [threads.submit(member.stop) for member in self.members]:
                stopped.result()

    def _signal(self, number: signal.Signals) -> None:
        self.check()
        for member in self.members:
            os.kill(member.pid, number)


@contextmanager
def running_consumers(
    environment: Mapping[str, str], logs: Path, *, count: int = 1, module: str = "framematch"
) -> Iterator[Consumers]:
    """`count` processes in a group that nobody has used; each has joined it when the block begins.

    `module` runs the command: framematch itself, or one that watches it.

    Raises:
        FramematchError: one ended, or was not ready in time.
    """
    group = {"KAFKA_GROUP_ID": f"benchmark-{uuid.uuid4().hex[:8]}"}
    with ExitStack() as running:
        members = tuple(
            running.enter_context(_running_consumer({**environment, **group}, logs / f"consume-{number}.log", module))
            for number in range(1, count + 1)
        )
        for member in members:
            member.wait_ready()
        yield Consumers(members)


@contextmanager
def _running_consumer(environment: Mapping[str, str], log_file: Path, module: str) -> Iterator[Service]:
    port = ReservedPort()
    command = Command(
        (sys.executable, "-m", module, "consume"), {**environment, "FRAMEMATCH_HTTP__PORT": str(port.number)}
    )
    process = ServerProcess(command, log_file)
    try:
        yield Service(process, "consume", f"http://{port.address}")
    finally:
        process.stop()
