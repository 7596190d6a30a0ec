"""A consumer at work, the cameras before it and the servers under it, for tests that break one of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import TopicPartition

from demo.dataset import BUNDLE_DIR
from demo.services import Service, fill_catalogue, service_environment
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.local_stack import LocalStack
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from stack.kafka import KafkaServer
from stack.mongodb import MongoServer
from stack.server import Server
from stack.triton import TritonServer
from stack.up import describe, running_servers
from tests.e2e.site import Site
from tests.e2e.watcher import Watcher
from tests.faulty_model import FaultyModel
from tests.support import eventually, go_on

_DEADLINE_S = 60.0


@dataclass(frozen=True)
class BreakableServers:
    """Servers of one module's own, whose model can be told to fail; `stack` has their addresses."""

    kafka: KafkaServer
    mongodb: MongoServer
    triton: TritonServer
    model: FaultyModel
    stack: LocalStack

    def mend(self) -> None:
        """Bring back whatever a failed test has left broken."""
        self.model.recover()
        for server in (self.kafka, self.mongodb, self.triton):
            if server.running:
                go_on(server.pid)
            else:
                server.start()


@contextmanager
def breakable_servers(folder: Path) -> Iterator[BreakableServers]:
    """Servers with the demo's catalogue and its index, while the block runs."""
    repository = folder / "repository"
    build_model_repository(load_bundle(BUNDLE_DIR), repository)
    model = FaultyModel(repository)
    kafka, mongodb = KafkaServer(folder / "kafka"), MongoServer(folder / "mongodb")
    triton = TritonServer(folder / "triton", repository)
    servers: list[Server] = [kafka, mongodb, triton]
    with running_servers(servers, data_dir=folder, report=print):
        stack = describe(servers, log_dir=folder)
        fill_catalogue(service_environment(folder / "state", stack))
        yield BreakableServers(kafka, mongodb, triton, model, stack)


class Scene:
    """A site whose consumers come and go."""

    def __init__(self, site: Site, servers: BreakableServers, watcher: Watcher) -> None:
        self.site = site
        self.servers = servers
        self.watcher = watcher
        self.consumers: list[Service] = []

    @property
    def first(self) -> Service:
        """The consumer that was started first."""
        return self.consumers[0]

    @property
    def running(self) -> list[Service]:
        """The consumers that have not ended."""
        return [consumer for consumer in self.consumers if consumer.running]

    async def start_consumer(self, *, ready: bool = True) -> Service:
        """One more."""
        service = await asyncio.to_thread(self.site.start, "consume", ready=ready)
        self.consumers.append(service)
        return service

    async def logs(self, event: str, *, times: int = 1) -> None:
        """Return once the consumers have logged this event so often."""
        await eventually(lambda: len(self.site.logged(event)) >= times, timeout_s=_DEADLINE_S, message=event)

    async def unready(self, part: str, reason: str) -> None:
        """Return once a consumer's /readyz is 503 for this reason, or a part of it."""

        async def says_so() -> bool:
            reports = [await asyncio.to_thread(consumer.readiness) for consumer in self.running]
            return any(reason in report[part] for report in reports)

        await eventually(says_so, timeout_s=_DEADLINE_S, message=f"/readyz says of {part}: {reason}")

    async def committed(self) -> tuple[dict[int, int], dict[int, int]]:
        """The group's offset in each partition of the frames, and where the partition ends."""
        partitions = [TopicPartition(self.site.topics.frames, number) for number in range(self.site.kafka.partitions)]
        reader = new_consumer(self.site.kafka, group_id=self.site.environment["KAFKA_GROUP_ID"])
        async with started(reader, self.site.kafka):
            offsets = {place.partition: await reader.committed(place) or 0 for place in partitions}
            ends = await reader.end_offsets(partitions)
        return offsets, {place.partition: end for place, end in ends.items()}

    async def nothing_is_committed_early(self) -> None:
        """Fail when the offset of a frame is committed that has not been answered."""
        offsets, _ = await self.committed()

        def answered() -> bool:
            return all(offset <= self.watcher.answered_below(partition) for partition, offset in offsets.items())

        await self.watcher.until(answered, f"every frame before the committed offsets {offsets} is answered")
