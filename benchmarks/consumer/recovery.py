"""A kill -9 of one of two consumers under load: how long until its partitions give events again, and what is repeated.

Each round starts two consumers, kills one while frames of twelve cameras come in, and waits for the first event of each
camera whose frame was captured after the kill. `recovery` is the slowest of these. Frames without an event are lost.

- `neighbours`: two commands on one host, which see that the other one has died;
- `workers`: one command with two workers, one of which is killed;
- `restarted`: one command alone, which is started again at once, as Docker or systemd do; `restarted_apart` has another
  state folder then, and knows nothing of the one before;
- `apart`: two commands with state folders of their own, as on two hosts: the session has to end;
- `former`: the same with a session of 10 s and a commit each second, the defaults before.
"""

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.consumer.conditions import DELIVERY
from benchmarks.consumer.site import Site
from benchmarks.consumer.traffic import Traffic, publish, receive, wait_for_events
from benchmarks.frames import camera_names
from benchmarks.harness import Figure, Options, Results
from benchmarks.kafka import reading
from benchmarks.processes import running_framematch
from demo.services import Service
from framematch.core.errors import FramematchError
from framematch.core.kafka.topics import ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import from_rfc3339, now_us

RECOVERY_GOAL_S = 5.0
_FORMER = {"FRAMEMATCH_CONSUMER__SESSION_TIMEOUT_MS": "10000", "FRAMEMATCH_CONSUMER__COMMIT_INTERVAL_S": "1"}
_FRAMES_PER_S = 60.0
_BEFORE_S = 3.0  # of load, so that there is something to repeat
_LOOK_S = 0.02
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Way:
    """How consumers are run: as `workers` of one command, `apart`, or one `alone`; and their settings."""

    name: str
    workers: bool = False
    apart: bool = False
    alone: bool = False
    settings: Mapping[str, str] | None = None


WAYS = (
    Way("neighbours"),
    Way("workers", workers=True),
    Way("restarted", alone=True),
    Way("restarted_apart", alone=True, apart=True),
    Way("apart", apart=True),
    Way("former", apart=True, settings=_FORMER),
)


@dataclass(frozen=True)
class _Recovery:
    seconds: float
    repeated: int
    lost: int


def measure(site: Site, options: Options) -> Results:
    """Seconds, repeats and losses of each way, with both deliveries."""
    results = Results(settings={"frames_per_s": _FRAMES_PER_S})
    for delivery in ("at_least_once", "exactly_once"):
        found: dict[str, list[_Recovery]] = {way.name: [] for way in WAYS}
        for number in range(options.rounds):
            for way in WAYS[:: 1 if number % 2 == 0 else -1]:
                found[way.name].append(uvloop.run(_recover(site, way, delivery)))
                print(f"recovery, {delivery}, round {number + 1}, {way.name}: {found[way.name][-1]}", flush=True)
        for name, rounds in found.items():
            prefix = f"recovery.{delivery}.{name}"
            results.figures[prefix] = Figure.of([one.seconds for one in rounds], "s")
            results.figures[f"{prefix}.repeated"] = Figure.of([one.repeated for one in rounds], "events")
            results.figures[f"{prefix}.lost"] = Figure.of([one.lost for one in rounds], "events")
            results.at_most[f"{prefix}.lost"] = 0
            if delivery == "exactly_once":
                results.at_most[f"{prefix}.repeated"] = 0
        for name in ("neighbours", "workers"):
            results.at_most[f"recovery.{delivery}.{name}"] = RECOVERY_GOAL_S
    return results


async def _recover(site: Site, way: Way, delivery: str) -> _Recovery:
    kafka, traffic, stop = site.kafka.new_topics(), Traffic(), asyncio.Event()
    await ensure_topics(kafka)
    with ExitStack() as stack:
        consumers = _Consumers(site, kafka, way, delivery, stack)
        victim, survivors = consumers.start_all()
        async with reading(kafka, "matches") as matches, asyncio.TaskGroup() as group:
            receiving = group.create_task(receive(matches, traffic))
            publishing = group.create_task(publish(kafka, site.jpegs, _FRAMES_PER_S, traffic, stop))
            await asyncio.sleep(_BEFORE_S)
            await wait_for_events(traffic, survivors, 1)
            killed_us, killed_s = now_us(), time.monotonic()
            os.kill(victim, signal.SIGKILL)
            if way.alone:
                survivors = [consumers.start()]
            served_s = await _all_served(traffic, survivors, kafka.partitions, killed_us)
            stop.set()
            await publishing
            await wait_for_events(traffic, survivors, len(traffic.frames) + traffic.repeated)
            receiving.cancel()
    return _Recovery(served_s - killed_s, traffic.repeated, traffic.lost)


async def _all_served(traffic: Traffic, survivors: list[Service], cameras: int, killed_us: int) -> float:
    """When the last camera had its first event of a frame that was captured after the kill, by the monotonic clock."""
    waiting = set(camera_names(cameras, cameras))
    seen, served_s = 0, 0.0
    async with asyncio.timeout(_DEADLINE_S):
        while waiting:
            await asyncio.sleep(_LOOK_S)
            for survivor in survivors:
                survivor.check()
            for event, (at_s, _) in zip(traffic.events[seen:], traffic.latency_ms[seen:], strict=True):
                if event.frame.camera in waiting and from_rfc3339(event.frame.captured_at) > killed_us:
                    waiting.remove(event.frame.camera)
                    served_s = at_s
            seen = len(traffic.events)
    return served_s


class _Consumers:
    """Starts consumers of one group on these topics, in the way that is measured."""

    def __init__(self, site: Site, kafka: KafkaSettings, way: Way, delivery: str, stack: ExitStack) -> None:
        self._site = site
        self._way = way
        self._stack = stack
        group = {"KAFKA_GROUP_ID": f"benchmark-{uuid.uuid4().hex[:8]}", DELIVERY: delivery}
        self._environment = site.environment(kafka) | group | dict(way.settings or {})

    def start(self) -> Service:
        """Start a command, and do not wait for it."""
        folder = self._site.folder / f"recovery-{uuid.uuid4().hex[:8]}"
        return self._stack.enter_context(
            running_framematch(
                "consume",
                *(("--workers", "2") if self._way.workers else ()),
                environment=self._environment | ({"FRAMEMATCH_STATE_DIR": str(folder)} if self._way.apart else {}),
                log_file=Path(f"{folder}.log"),
                may_be_killed=True,
            )
        )

    def start_all(self) -> tuple[int, list[Service]]:
        """The process id of the one to kill, and the services that go on."""
        services = [self.start() for _ in range(1 if self._way.workers or self._way.alone else 2)]
        for service in services:
            service.wait_ready()
        return (_worker(services[0]), services) if self._way.workers else (services[0].pid, services[1:])


def _worker(service: Service) -> int:
    """The process id of a worker."""
    for line in service.log.splitlines():
        if line.startswith("{") and (fields := json.loads(line))["event"] == "worker_started":
            return int(fields["pid"])
    raise FramematchError("no worker was started")
