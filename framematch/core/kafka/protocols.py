"""The part of aiokafka's producer and consumer that we use: aiokafka has no types, so code and fakes share these."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from framematch.core.kafka.records import Headers


class Producer(Protocol):
    """What we use of `AIOKafkaProducer`."""

    async def start(self) -> None:
        """Connect; with a transactional id also end its open transaction and fence its former owner."""

    async def stop(self) -> None:
        """Send what is buffered, and disconnect."""

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers
    ) -> asyncio.Future[object]:
        """Buffer a record; waits while the buffer is full. The future is done when the broker acknowledged it."""

    async def begin_transaction(self) -> None:
        """Start a transaction."""

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, int], group_id: str) -> None:
        """Add the group's offsets to the transaction."""

    async def commit_transaction(self) -> None:
        """Make the transaction's records and offsets visible together."""


class OffsetStore(Protocol):
    """The committed offsets of a consumer group, as a member sees them."""

    async def committed(self, partition: TopicPartition) -> int | None:
        """The next offset to read; None when nothing was committed."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offset to read of each partition."""


class OffsetSource(Protocol):
    """Where partitions start and end."""

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The first offset of each."""

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset behind the last record of each."""


class GroupConsumer(OffsetStore, OffsetSource, Protocol):
    """What we use of `AIOKafkaConsumer` as a member of a group."""

    def subscribe(self, topics: list[str], *, listener: ConsumerRebalanceListener) -> None:
        """Join the group; the listener is called when partitions are assigned or revoked."""

    async def getmany(self, *, timeout_ms: int) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        """Records of the partitions that are not paused; empty after the timeout."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from this offset."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing from these."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch from these again."""
