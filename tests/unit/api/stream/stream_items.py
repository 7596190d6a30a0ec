"""Items of the event stream, and a history of them, for the tests of those who pass them on."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord

from framematch.api.stream.events import Item, Published, published
from framematch.api.stream.history import Piece
from framematch.api.stream.positions import KINDS, Positions
from framematch.api.stream.reader import streamed_topics
from framematch.core.events import encode
from framematch.core.kafka.topics import Topics
from tests.sample_events import match_event, sighting_event


def record(kind: str, value: bytes | None, *, partition: int = 0, offset: int = 0, key: bytes = b"till-1") -> Any:
    topic = streamed_topics(Topics("framematch"))[KINDS.index(kind)]
    return ConsumerRecord(
        topic=topic, partition=partition, offset=offset, timestamp=0, timestamp_type=0, key=key, value=value,
        checksum=None, serialized_key_size=0, serialized_value_size=0, headers=(),
    )  # fmt: skip


def event(partition: int, offset: int, *, topic: int = 0, camera: str = "till-1") -> Published:
    """A match or sighting whose number is its offset."""
    kind = KINDS[topic]
    value = encode(match_event(offset, camera=camera) if topic == 0 else sighting_event(camera=camera, seen_us=offset))
    return published(topic, record(kind, value, partition=partition, offset=offset, key=camera.encode()))


def positions(*offsets: int, topic: int = 0) -> Positions:
    """In the partitions of one topic."""
    found = Positions()
    for partition, offset in enumerate(offsets):
        found.move(topic, partition, offset)
    return found


class FakeHistory:
    """Has these items of the partitions of one topic, and judges positions as it is told."""

    topics = streamed_topics(Topics("framematch"))

    def __init__(self, items: Iterable[Published] = (), *, judged: Piece | None = None, piece: int = 2) -> None:
        self.items = list(items)
        self.verdict = judged
        self.piece = piece
        self.reads = 0
        self.readers = 0

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Any]:
        self.readers += 1
        try:
            yield SimpleNamespace(read=self._read, judged=self._judged)
        finally:
            self.readers -= 1

    async def _read(self, at: Positions, below: Positions) -> Piece:
        self.reads += 1
        reached, found = at.copy(), list[Item]()
        for item in self.items:
            place = (item.topic, item.partition)
            if reached.offset(*place) <= item.offset < below.offset(*place) and len(found) < self.piece:
                found.append(item)
                reached.move(*place, item.offset + 1)
        return Piece(found, reached)

    async def _judged(self, at: Positions) -> Piece:
        return self.verdict or Piece([], at.copy())
