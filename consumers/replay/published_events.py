"""Reads what was published of frames, as far as it is needed for pairing."""

from collections.abc import Iterator, Mapping
from itertools import cycle

import msgspec
import structlog
from aiokafka import ConsumerRecord

from consumers.replay.pairing import Found, Pairing, published_answer
from consumers.replay.partition_reader import PartitionReader
from framematch.core.events import MatchEvent, decode

log = structlog.get_logger()

# A consumer has up to `consumer.in_flight_max` frames in flight, whose events change places with those of others.
_LOOKAHEAD_FRAMES = 2_048


class PublishedEvents:
    """Gives the events of the match topic to the pairing of their frame's partition.

    The events of a frame are in the partition with the frame's number, unless the topics have different numbers of
    partitions: then they may be in any.
    """

    def __init__(
        self, readers: Mapping[int, PartitionReader], pairings: Mapping[int, Pairing], frames_topic: str
    ) -> None:
        """`readers` by the partition of the match topic, `pairings` by the partition of the topic of frames."""
        self._readers = readers
        self._pairings = pairings
        self._frames_topic = frames_topic
        self._same_numbers = readers.keys() == pairings.keys()

    async def catch_up(self, partition: int) -> list[Found]:
        """Read on until the frames of this partition that were replayed have their events, or are passed.

        Raises:
            KafkaUnavailableError: Kafka does not answer.
            KafkaError: as of aiokafka.
        """
        pairing, found = self._pairings[partition], list[Found]()
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
        for reader in self._turns(partition):
            if not pairing.waiting:
                break
            found += self._add(await reader.read())
        return found

    def _turns(self, partition: int) -> Iterator[PartitionReader]:
        """The partitions with events of these frames, in turn, until all are read."""
        readers = [self._readers[partition]] if self._same_numbers else list(self._readers.values())
        for reader in cycle(readers):
            if all(one.at_end for one in readers):
                return
            if not reader.at_end:
                yield reader

    def _add(self, records: "Iterator[ConsumerRecord] | list[ConsumerRecord]") -> list[Found]:
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
