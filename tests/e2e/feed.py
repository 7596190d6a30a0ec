"""Cameras at work: records that keep coming while something breaks."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import RecordMetadata

from framematch.core.kafka.clients import new_producer, started
from tests.e2e.shots import Shot
from tests.e2e.site import Site

_FRAMES_PER_S = 25.0
_MOST_FRAMES = 1_500  # however long the fault lasts on a busy machine


@dataclass(frozen=True)
class Sent:
    """A record in the frames topic."""

    partition: int
    offset: int
    shot: Shot


class Feed:
    """Sends shots at a steady pace until it is told that they are enough; some hundreds at most."""

    def __init__(self, site: Site, shots: Iterator[Shot]) -> None:
        self._site = site
        self._shots = shots
        self._enough = asyncio.Event()
        self.count = 0
        """Handed to the producer so far."""

    def enough(self) -> None:
        """No more."""
        self._enough.set()

    @property
    def over(self) -> bool:
        """Whether no more come."""
        return self._enough.is_set() or self.count >= _MOST_FRAMES

    async def run(self) -> list[Sent]:
        """Send; all that was sent, once Kafka has it."""
        sent = []
        async with started(new_producer(self._site.kafka), self._site.kafka) as producer:
            while not self.over:
                shot = next(self._shots)
                self.count += 1
                sent.append((shot, await self._send(producer, shot)))
                await asyncio.sleep(1 / _FRAMES_PER_S)
            places = await asyncio.gather(*(future for _, future in sent))
        return [Sent(place.partition, place.offset, shot) for place, (shot, _) in zip(places, sent, strict=True)]

    async def _send(self, producer: AIOKafkaProducer, shot: Shot) -> Awaitable[RecordMetadata]:
        topic, headers = self._site.topics.frames, list(shot.headers)
        while True:
            with suppress(KafkaTimeoutError):  # it is full while Kafka is away
                acknowledged: Awaitable[RecordMetadata] = await producer.send(
                    topic, shot.value, key=shot.key, headers=headers
                )
                return acknowledged
