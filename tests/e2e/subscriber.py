"""A subscriber that receives everything that a site publishes, from the first event to the last."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from framematch.core.deadletters import parse_dead_letter
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import MatchEvent, decode
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import ensure_topics
from tests.e2e.contract import validate
from tests.e2e.site import Site
from tests.support import eventually

Isolation = Literal["read_uncommitted", "read_committed"]

_POLL_MS = 100
_DEADLINE_S = 90.0


@dataclass(frozen=True)
class Output:
    """A match event or a dead letter, with the partition and offset of its record in the frames topic.

    `id` is the event's id, or `dead_letter_id`.
    """

    id: str
    camera: bytes | None
    partition: int
    offset: int
    event: MatchEvent | None = None


class Subscriber:
    """Collects all match events and dead letters; those of a partition are in its order."""

    def __init__(self, site: Site, consumer: AIOKafkaConsumer) -> None:
        self._topics = site.topics
        self._consumer = consumer
        self.outputs: list[Output] = []
        self.first_seen_s: dict[str, float] = {}
        """When each id was first received, by the monotonic clock."""

    @property
    def events(self) -> list[MatchEvent]:
        """The match events."""
        return [output.event for output in self.outputs if output.event]

    def first_offset_without_output(self, partition: int) -> int:
        """The first offset in this partition of the frames topic without a match event or dead letter so far."""
        offsets = {output.offset for output in self.outputs if output.partition == partition}
        return next(offset for offset in count() if offset not in offsets)

    def longest_pause_s(self, since_s: float) -> float:
        """The longest time without a new id after `since_s`."""
        times_s = [since_s, *sorted(at_s for at_s in self.first_seen_s.values() if at_s > since_s)]
        return max((after_s - before_s for before_s, after_s in pairwise(times_s)), default=0.0)

    async def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Return once the condition is true; `what` describes it in the error after the deadline."""
        await eventually(condition, timeout_s=_DEADLINE_S, message=what)

    async def catch_up(self) -> None:
        """Return once everything that is in the topics now has been received."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())

        async def caught_up() -> bool:
            return all([await self._consumer.position(partition) >= end for partition, end in ends.items()])

        await eventually(caught_up, timeout_s=_DEADLINE_S, message="the subscriber has read everything")

    async def run(self) -> None:
        """Receive until cancelled."""
        while True:
            batches = await self._consumer.getmany(timeout_ms=_POLL_MS)
            now_s = time.monotonic()
            for record in (record for records in batches.values() for record in records):
                validate(record, self._topics)
                if record.topic != self._topics.sightings:
                    output = self._output(record)
                    self.outputs.append(output)
                    self.first_seen_s.setdefault(output.id, now_s)

    def _output(self, record: ConsumerRecord) -> Output:
        if record.topic == self._topics.matches:
            event = decode(record.value, MatchEvent)
            return Output(event.id, record.key, event.frame.partition, event.frame.offset, event)
        failure = parse_dead_letter(record).failure
        output_id = dead_letter_id(failure.stage, failure.reason, failure.partition, failure.offset)
        return Output(output_id, record.key, failure.partition, failure.offset)


def dead_letter_id(stage: str, reason: str, partition: int, offset: int) -> str:
    """An id for a dead letter: why it was written, and for which record of the frames topic."""
    return f"{stage}: {reason}, {partition}-{offset}"


@asynccontextmanager
async def subscribed(site: Site, isolation_level: Isolation) -> AsyncIterator[Subscriber]:
    """A subscriber that receives while the block runs; its errors fail the test."""
    async with AsyncExitStack() as connection, asyncio.TaskGroup() as group:
        consumer = await _connected(site, isolation_level, connection)
        subscriber = Subscriber(site, consumer)
        receiving = group.create_task(subscriber.run())
        yield subscriber
        receiving.cancel()


async def _connected(site: Site, isolation_level: Isolation, connection: AsyncExitStack) -> AIOKafkaConsumer:
    """A consumer of the site's outputs; in a cluster, another broker may not know the new topics yet."""
    topics = (site.topics.matches, site.topics.sightings, site.topics.deadletter)
    consumers: list[AIOKafkaConsumer] = []
    await ensure_topics(site.kafka)

    async def connected() -> bool:
        consumer = new_consumer(site.kafka, *topics, auto_offset_reset="earliest", isolation_level=isolation_level)
        try:
            consumers.append(await connection.enter_async_context(started(consumer, site.kafka)))
        except KafkaUnavailableError:
            return False
        return True

    await eventually(connected, message="all brokers know the topics")
    return consumers[0]
