"""Reads the topic of dead letters to where it ends now: all of them, some, or one."""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from framematch.core.deadletters import Letter, Position, parse_letter
from framematch.core.errors import DeadLetterError, KafkaUnavailableError
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.topics import Topics, topic_exists
from framematch.core.progress import OnProgress
from framematch.core.settings import KafkaSettings

log = structlog.get_logger()

_POLL_MS = 500
_SILENCE_S = 30.0  # what is asked for is there: this is for a broker that does not answer


class DeadLetterTopic:
    """The letters that were there when it was opened; `offsets` of each partition."""

    def __init__(
        self, consumer: AIOKafkaConsumer, kafka: KafkaSettings, offsets: Mapping[TopicPartition, range]
    ) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._offsets = offsets

    @property
    def partitions(self) -> int:
        """Of the topic; 0 when there is none."""
        return len(self._offsets)

    async def letters(
        self,
        *,
        among: Collection[Position] | None = None,
        on_progress: OnProgress = lambda _done, _total: None,
    ) -> AsyncIterator[Letter]:
        """All of them, or those `among` these; partition by partition, the oldest first.

        What is no letter is logged and passed over. `on_progress` gets how many offsets are behind, and how many there
        are.

        Raises:
            KafkaUnavailableError: the broker does not give us all of it.
        """
        ranges = {place: _narrowed(place, offsets, among) for place, offsets in sorted(self._offsets.items())}
        total, behind = sum(map(len, ranges.values())), 0
        for place, offsets in ranges.items():
            async for record in self._records(place, offsets):
                on_progress(behind + record.offset - offsets.start, total)
                if among is None or (record.partition, record.offset) in among:
                    try:
                        yield parse_letter(record)
                    except msgspec.ValidationError as error:
                        log.warning(
                            "letter_unreadable", partition=record.partition, offset=record.offset, error=str(error)
                        )
            behind += len(offsets)

    async def letter(self, position: Position) -> Letter:
        """The one at this place.

        Raises:
            DeadLetterError: there is none.
            KafkaUnavailableError: the broker does not give it to us.
        """
        async for letter in self.letters(among=[position]):
            return letter
        raise DeadLetterError(
            "there is no dead letter at {}:{}".format(*position),
            hint="'framematch deadletter list' shows those there are",
        )

    async def _records(self, partition: TopicPartition, offsets: range) -> AsyncIterator[ConsumerRecord]:
        """What lies in a partition at these offsets; some hold nothing to read, such as the end of a transaction."""
        if not offsets:
            return
        with kafka_errors(self._kafka):
            self._consumer.seek(partition, offsets.start)
            heard_s = time.monotonic()
            while await self._consumer.position(partition) < offsets.stop:
                found = (await self._consumer.getmany(partition, timeout_ms=_POLL_MS)).get(partition, [])
                heard_s = time.monotonic() if found else heard_s
                if time.monotonic() - heard_s > _SILENCE_S:
                    raise KafkaUnavailableError(
                        f"{partition.topic} could not be read: nothing came for {_SILENCE_S:g} s",
                        hint="Check the broker, and that we may read this topic",
                    )
                for record in found:
                    if record.offset in offsets:
                        yield record


def _narrowed(place: TopicPartition, offsets: range, among: Collection[Position] | None) -> range:
    """The part of a partition's `offsets` that holds all `among` these."""
    if among is None:
        return offsets
    wanted = [offset for partition, offset in among if partition == place.partition and offset in offsets]
    return range(min(wanted), max(wanted) + 1) if wanted else range(0)


@asynccontextmanager
async def open_letters(kafka: KafkaSettings) -> AsyncIterator[DeadLetterTopic]:
    """The dead letters that there are now; none when there is no such topic yet.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
    """
    topic = Topics(kafka.topic_prefix).deadletter
    if not await topic_exists(kafka, topic):
        yield DeadLetterTopic(None, kafka, {})  # nothing to read needs nobody who reads
        return
    # Without a group it gets all partitions at once.
    consumer = new_consumer(kafka, topic, auto_offset_reset="earliest", isolation_level="read_committed")
    async with started(consumer, kafka):
        with kafka_errors(kafka):
            places = list(consumer.assignment())
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        yield DeadLetterTopic(consumer, kafka, {place: range(begins[place], ends[place]) for place in places})
