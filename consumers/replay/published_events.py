"""Reads what was published of frames, as far as it is needed for pairing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from consumers.replay.frame_records import TimedConsumer
from consumers.replay.pairing import Found, Pairing, published_answer
from framematch.core.events import MatchEvent, decode
from framematch.core.kafka.partition_reader import PartitionReader
from framematch.core.units import MS_PER_S, US_PER_MS

log = structlog.get_logger()

# A consumer has up to `consumer.in_flight_max` frames in flight, whose events change places with those of others.
_LOOKAHEAD_FRAMES = 2_048
# An event is published after its frame has arrived, by clocks that may differ by this.
_CLOCKS_DIFFER_MS = 60 * MS_PER_S


class PublishedEvents:
    """Gives the events of the match topic to the pairing of their frame's partition.

    The events of a frame are in the partition with the frame's number, unless the topics have different numbers of
    partitions: then they may be in any.
    """

    def __init__(
        self,
        consumer: TimedConsumer,
        matches: Sequence[TopicPartition],
        pairings: Mapping[int, Pairing],
        *,
        frames_topic: str,
    ) -> None:
        """`pairings` by the partition of the topic of frames."""
        self._consumer = consumer
        self._pairings = pairings
        self._frames_topic = frames_topic
        same = {one.partition for one in matches} == pairings.keys()
        self._with_events = {
            number: [one for one in matches if one.partition == number or not same] for number in pairings
        }
        self._readers: dict[TopicPartition, PartitionReader] = {}

    async def catch_up(self, partition: int, since_us: int) -> list[Found]:
        """Read on until the frames of this partition that were replayed have their events, or are passed.

        The first call starts where events were published that are not older than `since_us`.

        Raises:
            KafkaUnavailableError: Kafka does not answer.
            KafkaError: as of aiokafka.
        """
        pairing, found = self._pairings[partition], list[Found]()
        if pairing.waiting:
            await self._open(partition, since_us)
        for reader in self._turns(partition):
            if not pairing.waiting or pairing.published_below >= pairing.read_below + _LOOKAHEAD_FRAMES:
                break
            found += self._add(await reader.read())
        return found

    async def read_to_end(self, partition: int) -> list[Found]:
        """Read on until the frames of this partition have their events, or there are no more events.

        Raises: as `catch_up`.
        """
        pairing, found = self._pairings[partition], list[Found]()
        own = [one for one in self._with_events[partition] if one in self._readers]
        for one, end in (await self._consumer.end_offsets(own) if own else {}).items():
            self._readers[one].stop = end
        for reader in self._turns(partition):
            if not pairing.waiting:
                break
            found += self._add(await reader.read())
        return found

    async def _open(self, partition: int, since_us: int) -> None:
        new = [one for one in self._with_events[partition] if one not in self._readers]
        if not new:
            return
        since_ms = max(0, since_us // US_PER_MS - _CLOCKS_DIFFER_MS)
        firsts = await self._consumer.offsets_for_times(dict.fromkeys(new, since_ms))
        ends = await self._consumer.end_offsets(new)
        for one in new:
            first = firsts[one]
            self._readers[one] = PartitionReader(self._consumer, one, first.offset if first else ends[one], ends[one])

    def _turns(self, partition: int) -> Iterator[PartitionReader]:
        """The partitions with events of these frames, in turn, until all are read."""
        readers = [self._readers[one] for one in self._with_events[partition] if one in self._readers]
        while unread := [one for one in readers if not one.at_end]:
            yield from unread

    def _add(self, records: Iterable[ConsumerRecord]) -> list[Found]:
        found: list[Found] = []
        for record in records:
            try:
                event = decode(record.value or b"", MatchEvent)
            except msgspec.DecodeError as error:
                log.warning(
                    "event_unreadable", topic=record.topic, partition=record.partition, offset=record.offset,
                    error=str(error),
                )  # fmt: skip
                continue
            pairing = self._pairings.get(event.frame.partition)
            if event.frame.topic == self._frames_topic and pairing is not None:
                found += pairing.add_published(published_answer(event))
        return found
