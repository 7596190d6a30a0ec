"""The consumers, servers and subscriber of a fault test, and the waits that such tests share."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import TopicPartition

from demo.dataset import BUNDLE_DIR
from demo.services import Service, service_environment
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.local_stack import LocalStack
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.kafka import KafkaServer
from framematch.stack.mongodb import MongoServer
from framematch.stack.server import Server
from framematch.stack.triton import TritonServer
from framematch.stack.up import describe, running_servers
from tests.e2e.commands import fill_catalogue
from tests.e2e.models import cheap
from tests.e2e.site import Site
from tests.e2e.subscriber import Subscriber
from tests.faulty_model import FaultyModel
from tests.support import eventually, resume

MATCHES = {"FRAMEMATCH_MATCHING__THRESHOLD": "0.01", "FRAMEMATCH_MATCHING__MARGIN": "0"}
"""Settings for the cheap model: most photos match, so that events have a product."""
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class BreakableServers:
    """Servers that tests may kill and freeze, with a model that can be made to fail; `stack` has their addresses."""

    kafka: KafkaServer
    mongodb: MongoServer
    triton: TritonServer
    model: FaultyModel
    stack: LocalStack

    def recover(self) -> None:
        """Restart or resume whatever a failed test has left broken."""
        self.model.recover()
        for server in (self.kafka, self.mongodb, self.triton):
            if server.running:
                resume(server.pid)
            else:
                server.start()


@contextmanager
def breakable_servers(folder: Path) -> Iterator[BreakableServers]:
    """Run servers with the demo's catalogue, a cheap model and their index inside the context."""
    repository = folder / "repository"
    build_model_repository(load_bundle(cheap(BUNDLE_DIR, folder / "bundle")), repository)
    model = FaultyModel(repository)
    kafka, mongodb = KafkaServer(folder / "kafka"), MongoServer(folder / "mongodb")
    triton = TritonServer(folder / "triton", repository)
    servers: list[Server] = [kafka, mongodb, triton]
    with running_servers(servers, data_dir=folder, report=print):
        stack = describe(servers, log_dir=folder)
        fill_catalogue(service_environment(folder / "state", stack))
        yield BreakableServers(kafka, mongodb, triton, model, stack)


class FaultRun:
    """A site whose consumers are started and stopped during the test, its servers and its subscriber."""

    def __init__(self, site: Site, servers: BreakableServers, subscriber: Subscriber) -> None:
        self.site = site
        self.servers = servers
        self.subscriber = subscriber
        self.consumers: list[Service] = []

    @property
    def first(self) -> Service:
        """The consumer that was started first."""
        return self.consumers[0]

    @property
    def running(self) -> list[Service]:
        """The consumers whose process is running."""
        return [consumer for consumer in self.consumers if consumer.running]

    async def start_consumer(self, *, ready: bool = True) -> Service:
        """Start one more consumer."""
        service = await asyncio.to_thread(self.site.start, "consume", ready=ready)
        self.consumers.append(service)
        return service

    async def wait_logged(self, event: str) -> None:
        """Return once a consumer has logged this event."""
        await eventually(lambda: self.site.logged(event), timeout_s=_DEADLINE_S, message=event)

    async def wait_unready(self, part: str, reason: str) -> None:
        """Return once a consumer's /readyz is 503 with this text in the reason of `part`."""
        reports: list[dict[str, str]] = []

        async def unready() -> bool:
            reports[:] = [await asyncio.to_thread(consumer.readiness) for consumer in self.running]
            return any(reason in report[part] for report in reports)

        try:
            await eventually(unready, timeout_s=_DEADLINE_S, message=f"/readyz reports {part}: {reason}")
        except AssertionError as error:
            error.add_note(f"the last reports: {reports}")
            raise

    async def offsets(self) -> tuple[dict[int, int], dict[int, int]]:
        """The group's committed offset in each partition of the frames topic, and the end offset of each."""
        partitions = [TopicPartition(self.site.topics.frames, number) for number in range(self.site.kafka.partitions)]
        reader = new_consumer(self.site.kafka, group_id=self.site.environment["KAFKA_GROUP_ID"])
        async with started(reader, self.site.kafka):
            offsets = {partition.partition: await reader.committed(partition) or 0 for partition in partitions}
            ends = await reader.end_offsets(partitions)
        return offsets, {partition.partition: end for partition, end in ends.items()}

    async def check_no_early_commit(self) -> None:
        """Fail when an offset is committed beyond a frame without output."""
        offsets, _ = await self.offsets()

        def outputs_published() -> bool:
            first = self.subscriber.first_offset_without_output
            return all(offset <= first(partition) for partition, offset in offsets.items())

        await self.subscriber.wait_for(outputs_published, f"an output for every frame before the offsets {offsets}")
