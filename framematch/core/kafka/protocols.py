"""The part of aiokafka's producer and consumer that we use: aiokafka has no types, so code and fakes share these."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from framematch.core.kafka.records import Headers
from framematch.core.kafka.topic_descriptions import TopicDescription


@dataclass(frozen=True)
class Committed:
    """A committed offset, and the id of the topic that it belongs to; None when whoever committed it did not say."""

    offset: int
    topic_id: bytes | None = None


class Producer(Protocol):
    """What we use of `AIOKafkaProducer`."""

    async def start(self) -> None:
        """Connect; with a transactional id also end its open transaction and fence its former owner."""

    async def stop(self) -> None:
        """Send what is buffered, and disconnect."""

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers, partition: int | None
    ) -> asyncio.Future[object]:
        """Buffer a record; waits while the buffer is full. The future is done when the broker acknowledged it."""

    async def partitions_for(self, topic: str) -> Collection[int]:
        """The numbers of the topic's partitions, as last known; waits when nothing is known of it."""

    async def begin_transaction(self) -> None:
        """Start a transaction."""

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, Any], group_id: str) -> None:
        """Add the group's offsets to the transaction."""

    async def commit_transaction(self) -> None:
        """Make the transaction's records and offsets visible together."""


class OffsetStore(Protocol):
    """The committed offsets of a consumer group, as a member sees them."""

    async def committed(self, partition: TopicPartition) -> int | None:
        """The next offset to read; None when nothing was committed."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offset to read of each partition, with its topic's id."""

    def with_topic_ids(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Any]:
        """What `commit` stores, for a transaction."""


class OffsetSource(Protocol):
    """Where partitions start and end."""

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The first offset of each."""

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset behind the last record of each."""


class TopicConsumer(OffsetSource, Protocol):
    """What `OffsetJudge` uses of our `Consumer`."""

    topic_ids: dict[str, bytes | None]
    """The id of each topic whose offsets are committed."""

    async def describe(self, *topics: str) -> Mapping[str, TopicDescription]:
        """The topics that exist."""

    def refresh_metadata(self) -> None:
        """Ask soon which partitions the topics have."""

    async def commits(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, Committed | None]:
        """What the group has committed; None where nothing was."""


class EventConsumer(TopicConsumer, Protocol):
    """What a subscriber uses of our `Consumer`, with or without a group."""

    def assignment(self) -> Collection[TopicPartition]:
        """The partitions that it reads."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from this offset."""

    def next_offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset to read of each partition, behind everything returned and behind offsets without a record."""

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Some records; empty after the timeout."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offset to read of each partition, with its topic's id."""


class GroupConsumer(OffsetStore, TopicConsumer, Protocol):
    """What we use of our `Consumer` as a member of a group."""

    def subscribe(self, topics: list[str], *, listener: ConsumerRebalanceListener) -> None:
        """Join the group; the listener is called when partitions are assigned or revoked."""

    async def getmany(self, *, timeout_ms: int) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Records of the partitions that are not paused; empty after the timeout."""

    def next_offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset to read of each partition, behind everything returned and behind offsets without a record."""

    def fetch_errors(self) -> Mapping[TopicPartition, str]:
        """The assigned partitions that their broker cannot read at present, and its error."""

    def uncommitted_end(self, partition: TopicPartition) -> int:
        """The end of the partition, open transactions included, as of its last fetch; -1 before the first one."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from this offset."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing from these."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch from these again."""
