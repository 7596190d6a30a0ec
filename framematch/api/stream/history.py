"""Events that are older than the ring, read from Kafka for one client at a time, by a limited number of consumers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from framematch.api.stream.events import Gap, Item, Reset, published
from framematch.api.stream.positions import NO_TAG, Positions, tag_of
from framematch.api.stream.reader import partitions_of, streamed_topics, unreadable
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import new_consumer, start_client, stop_client, unavailable
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.offsets import first_to_read, offset_ranges
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_READERS = 4
_MAX_RECORDS = 100  # about 150 kB: what a client that is slower than its time-out for a send may hold a reader for
_FETCH_BYTES = 262_144  # of a partition; a larger record comes alone
_ALL_FETCH_BYTES = 1_048_576
_POLL_S = 2.0
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Piece:
    """Some items in their order, and the positions behind all of them."""

    items: list[Item]
    positions: Positions


class History:
    """The consumers that read old events; each is opened at its first use, and used by one client at a time.

    Clients wait in the order in which they came. Between two pieces a client waits anew, so that none keeps the others
    from theirs.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.topics = streamed_topics(Topics(kafka.topic_prefix))
        self._free: asyncio.Queue[HistoryReader] = asyncio.Queue()
        self._readers = [HistoryReader(kafka) for _ in range(_READERS)]
        for reader in self._readers:
            self._free.put_nowait(reader)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator["HistoryReader"]:
        """A reader for this client alone, inside the context."""
        reader = await self._free.get()
        try:
            yield reader
        finally:
            reader.when_idle(lambda: self._free.put_nowait(reader))

    async def close(self) -> None:
        """Disconnect; nobody reads any more."""
        for reader in self._readers:
            await reader.close()


class HistoryReader:
    """Reads at any positions with a consumer of its own.

    All methods raise KafkaUnavailableError when Kafka does not answer in time. What has begun goes on when its client
    leaves: aiokafka would lose a connection whose opening is cancelled.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._topics = streamed_topics(Topics(kafka.topic_prefix))
        self._consumer: Consumer | None = None
        self._unreadable: list[Gap] = []
        self._task: asyncio.Task[Piece] | asyncio.Task[Positions] | None = None

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` now, or when what has begun is done."""
        if self._task is None or self._task.done():
            then()
        else:
            self._task.add_done_callback(lambda _task: then())

    async def close(self) -> None:
        """Disconnect."""
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._consumer is not None:
            await stop_client(self._consumer)
            self._consumer = None

    async def read(self, positions: Positions, below: Positions) -> Piece:
        """The next items of partitions that are behind `below`; none when Kafka sends none in time.

        What Kafka does not have any more is an item too.
        """
        self._task = task = asyncio.ensure_future(self._read(positions.copy(), below))
        return await asyncio.shield(task)

    async def judged(self, positions: Positions) -> Piece:
        """What is wrong with a client's positions, by what Kafka has now, and where it must read on."""
        self._task = task = asyncio.ensure_future(self._judge(positions.copy()))
        return await asyncio.shield(task)

    async def at(self, at_ms: int) -> Positions:
        """The positions of the first events that were published at this time (since the epoch) or later."""
        self._task = task = asyncio.ensure_future(self._at(at_ms))
        return await asyncio.shield(task)

    async def _read(self, positions: Positions, below: Positions) -> Piece:
        async with self._connected(_POLL_S + _TIMEOUT_S) as consumer:
            wanted = self._behind(positions, below)
            consumer.assign(list(wanted))
            try:
                for partition, offset in wanted.items():
                    consumer.seek(partition, offset)
                found = await consumer.getmany(timeout_ms=int(_POLL_S * MS_PER_S), max_records=_MAX_RECORDS)
                after = consumer.next_offsets()
            except OffsetOutOfRangeError:
                return await self._judged(consumer, positions)
            finally:
                consumer.unsubscribe()  # else it goes on fetching
        items: list[Item] = [*self._unreadable]
        for partition, records in found.items():
            topic = self._topics.index(partition.topic)
            for record in records:
                try:
                    items.append(published(topic, record))
                except msgspec.DecodeError:
                    log.debug("event_unreadable", topic=record.topic, partition=record.partition, offset=record.offset)
        reached = positions.copy()
        for partition, offset in after.items():
            reached.move(self._topics.index(partition.topic), partition.partition, offset)
        return Piece(items, reached)

    async def _judge(self, positions: Positions) -> Piece:
        async with self._connected(_TIMEOUT_S) as consumer:
            return await self._judged(consumer, positions)

    async def _at(self, at_ms: int) -> Positions:
        async with self._connected(_TIMEOUT_S) as consumer:
            described = await consumer.describe(*self._topics)
            partitions = [one for topic in described.values() for one in partitions_of(topic)]
            ends = await consumer.end_offsets(partitions)  # first: what is published meanwhile is found by its time
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(0, at_ms)))
            positions = Positions()
            for name, description in described.items():
                positions.tags[self._topics.index(name)] = tag_of(description.id)
            for partition in partitions:
                offset = ends[partition] if found[partition] is None else found[partition].offset
                positions.move(self._topics.index(partition.topic), partition.partition, offset)
            return positions

    async def _judged(self, consumer: Consumer, positions: Positions) -> Piece:
        described = await consumer.describe(*self._topics)
        partitions = [one for topic in described.values() for one in partitions_of(topic)]
        ranges = await offset_ranges(consumer, partitions)
        items: list[Item] = []
        reached = positions.copy()
        for name, description in described.items():
            available = {one.partition: offsets for one, offsets in ranges.items() if one.topic == name}
            items += judge(reached, self._topics.index(name), tag_of(description.id), available)
        return Piece(items, reached)

    def _behind(self, positions: Positions, below: Positions) -> dict[TopicPartition, int]:
        wanted = {}
        for topic, name in enumerate(self._topics):
            for partition in range(below.partitions(topic)):
                offset = positions.offset(topic, partition)
                if offset < below.offset(topic, partition):
                    wanted[TopicPartition(name, partition)] = offset
        return wanted

    @asynccontextmanager
    async def _connected(self, timeout_s: float) -> AsyncIterator[Consumer]:
        self._unreadable = []
        try:
            async with asyncio.timeout(timeout_s):
                yield await self._open()
        except TimeoutError:
            raise KafkaUnavailableError(
                f"Kafka does not answer at {self._kafka.bootstrap_servers}", hint="Check the broker"
            ) from None
        except KafkaError as error:
            raise unavailable(self._kafka, error) from error

    async def _open(self) -> Consumer:
        if self._consumer is None:
            consumer = new_consumer(
                self._kafka,
                auto_offset_reset="none",
                isolation_level="read_committed",
                max_partition_fetch_bytes=_FETCH_BYTES,
                fetch_max_bytes=_ALL_FETCH_BYTES,
                on_unreadable=lambda found: self._unreadable.append(unreadable(self._topics, found)),
            )
            try:
                await start_client(consumer, self._kafka, explain=False)
            except BaseException:  # also when its time is over
                await stop_client(consumer)
                raise
            self._consumer = consumer
        return self._consumer


def judge(positions: Positions, topic: int, tag: bytes, available: Mapping[int, range]) -> list[Item]:
    """Compare the positions with what Kafka has of this topic; moves them, and returns what clients must know.

    As for every reader (`core.kafka.offsets`): what was deleted is a gap. Offsets of an earlier topic, or beyond the
    end of a partition that was truncated, are replaced by the first ones.
    """
    known = positions.tags[topic]
    starts = {partition: offsets.start for partition, offsets in available.items()}
    if NO_TAG not in (known, tag) and known != tag:
        positions.restart(topic, tag)
        _move_all(positions, topic, starts)
        return [Reset(topic, tag, starts, "topic_recreated")]
    positions.tags[topic] = tag
    items: list[Item] = []
    truncated = {}
    for partition, offsets in available.items():
        offset = positions.offset(topic, partition)
        if offset > offsets.stop:
            truncated[partition] = first_to_read(offsets, offset, "earliest")
        elif offset < offsets.start:
            items.append(Gap(topic, partition, offset, offsets.start, "retention"))
            positions.move(topic, partition, offsets.start)
    if truncated:
        _move_all(positions, topic, truncated)
        items.append(Reset(topic, tag, truncated, "partition_truncated"))
    return items


def _move_all(positions: Positions, topic: int, offsets: Mapping[int, int]) -> None:
    for partition, offset in offsets.items():
        positions.move(topic, partition, offset)
