"""A subscriber that reads all that a site publishes, from before the first event to after the last."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from framematch.core.deadletters import parse_dead_letter
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
class Answer:
    """What was published of a frame of `camera`, or of some record: a match event or a dead letter.

    `id` is that of the event; a letter's is made of why it was written and of which record.
    """

    id: str
    camera: bytes | None
    partition: int
    offset: int
    event: MatchEvent | None = None


class Watcher:
    """Keeps all match events and dead letters, in the order of partitions."""

    def __init__(self, site: Site, consumer: AIOKafkaConsumer) -> None:
        self._topics = site.topics
        self._consumer = consumer
        self.answers: list[Answer] = []
        self.seen_at_s: dict[str, float] = {}
        """When an id was first seen, by the monotonic clock."""

    @property
    def events(self) -> list[MatchEvent]:
        """The match events."""
        return [answer.event for answer in self.answers if answer.event]

    def answered_below(self, partition: int) -> int:
        """The first offset of this partition of the frames that has neither a match event nor a dead letter yet."""
        offsets = {answer.offset for answer in self.answers if answer.partition == partition}
        return next(offset for offset in count() if offset not in offsets)

    def longest_pause_s(self, since_s: float) -> float:
        """The longest time from then on in which nothing new was seen."""
        times_s = [since_s, *sorted(at_s for at_s in self.seen_at_s.values() if at_s > since_s)]
        return max((after_s - before_s for before_s, after_s in pairwise(times_s)), default=0.0)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Return once this is so."""
        await eventually(condition, timeout_s=_DEADLINE_S, message=what)

    async def caught_up(self) -> None:
        """Return once everything was read that is there now."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())

        async def read() -> bool:
            return all([await self._consumer.position(place) >= end for place, end in ends.items()])

        await eventually(read, timeout_s=_DEADLINE_S, message="the subscriber has read everything")

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS)
            now_s = time.monotonic()
            for record in (record for records in found.values() for record in records):
                validate(record, self._topics)
                if record.topic != self._topics.sightings:
                    answer = self._answer(record)
                    self.answers.append(answer)
                    self.seen_at_s.setdefault(answer.id, now_s)

    def _answer(self, record: ConsumerRecord) -> Answer:
        if record.topic == self._topics.matches:
            event = decode(record.value, MatchEvent)
            return Answer(event.id, record.key, event.frame.partition, event.frame.offset, event)
        failure = parse_dead_letter(record).failure
        name = letter_id(failure.stage, failure.reason, failure.partition, failure.offset)
        return Answer(name, record.key, failure.partition, failure.offset)


def letter_id(stage: str, reason: str, partition: int, offset: int) -> str:
    """The id that a watcher gives to the dead letter of a record."""
    return f"{stage}: {reason}, {partition}-{offset}"


@asynccontextmanager
async def watching(site: Site, isolation_level: Isolation) -> AsyncIterator[Watcher]:
    """A subscriber that reads while the block runs; an error of its ends the test."""
    topics = (site.topics.matches, site.topics.sightings, site.topics.deadletter)
    await ensure_topics(site.kafka)
    consumer = new_consumer(site.kafka, *topics, auto_offset_reset="earliest", isolation_level=isolation_level)
    async with started(consumer, site.kafka), asyncio.TaskGroup() as group:
        watcher = Watcher(site, consumer)
        reading = group.create_task(watcher.run())
        yield watcher
        reading.cancel()
