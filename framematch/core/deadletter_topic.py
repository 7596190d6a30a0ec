"""Reads the dead-letter topic up to its present end."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from framematch.core.deadletters import DeadLetter, Position, parse_dead_letter
from framematch.core.errors import DeadLetterError
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.reading import read_to_end
from framematch.core.kafka.topics import Topics, topic_exists
from framematch.core.progress import OnProgress
from framematch.core.settings import KafkaSettings

log = structlog.get_logger()


class DeadLetterTopic:
    """The dead letters that existed when the topic was opened, at the offsets `ranges`."""

    def __init__(
        self, consumer: AIOKafkaConsumer, kafka: KafkaSettings, ranges: Mapping[TopicPartition, range]
    ) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._ranges = ranges

    @property
    def partitions(self) -> int:
        """The number of partitions; 0 when the topic does not exist."""
        return len(self._ranges)

    async def read(
        self, *, among: Collection[Position] | None = None, on_progress: OnProgress = lambda _done, _total: None
    ) -> AsyncIterator[DeadLetter]:
        """Yield all dead letters, or those `among` these positions; partition by partition, the oldest first.

        Records that are no dead letters are logged and skipped. `on_progress` gets the number of offsets that were
        read, and the number of all.

        Raises:
            KafkaUnavailableError: the broker does not return all of them.
        """
        ranges = {partition: _narrowed(partition, offsets, among) for partition, offsets in self._ranges.items()}
        total, done = sum(map(len, ranges.values())), 0
        for partition, offsets in sorted(ranges.items()):
            with kafka_errors(self._kafka):
                async for record in read_to_end(self._consumer, {partition: offsets}):
                    on_progress(done + record.offset - offsets.start, total)
                    if among is not None and (record.partition, record.offset) not in among:
                        continue
                    try:
                        yield parse_dead_letter(record)
                    except msgspec.ValidationError as error:
                        log.warning(
                            "dead_letter_unreadable", partition=record.partition, offset=record.offset, error=str(error)
                        )
            done += len(offsets)

    async def read_one(self, position: Position) -> DeadLetter:
        """The dead letter at this position.

        Raises:
            DeadLetterError: it does not exist.
            KafkaUnavailableError: the broker does not return it.
        """
        async for dead_letter in self.read(among=[position]):
            return dead_letter
        raise DeadLetterError(
            "there is no dead letter at {}:{}".format(*position),
            hint="'framematch deadletter list' shows the existing ones",
        )


def _narrowed(partition: TopicPartition, offsets: range, among: Collection[Position] | None) -> range:
    """The part of a partition's `offsets` that contains all positions `among` these."""
    if among is None:
        return offsets
    wanted = [offset for number, offset in among if number == partition.partition and offset in offsets]
    return range(min(wanted), max(wanted) + 1) if wanted else range(0)


@asynccontextmanager
async def open_dead_letters(kafka: KafkaSettings) -> AsyncIterator[DeadLetterTopic]:
    """The dead letters that exist now; none when the topic does not exist yet.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses the request.
    """
    topic = Topics(kafka.topic_prefix).deadletter
    if not await topic_exists(kafka, topic):
        yield DeadLetterTopic(None, kafka, {})  # nothing to read: no consumer is needed
        return
    # Without a group, all partitions are assigned at once.
    consumer = new_consumer(kafka, topic, auto_offset_reset="earliest", isolation_level="read_committed")
    async with started(consumer, kafka):
        with kafka_errors(kafka):
            ranges = await offset_ranges(consumer, consumer.assignment())
        yield DeadLetterTopic(consumer, kafka, ranges)
