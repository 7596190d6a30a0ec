"""Reads what consumers have published for some partitions: the newest match events, and ends by silence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from framematch.core.events import MatchEvent, SightingEvent, decode
from framematch.core.kafka.clients import new_consumer
from framematch.core.kafka.reading import read_to_end
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import MS_PER_S, US_PER_S

log = structlog.get_logger()

_POLL_MS = 20
# A partition is read backwards from its end, in chunks. 20 cameras at 5 frames a second need 4 of them.
_CHUNK_RECORDS = 512
_MAX_CHUNKS = 16
_MAX_SIGHTINGS = 2_048


@dataclass(frozen=True)
class PublishedEvent:
    """A match event, the time of its record, and when its frame arrived at the edge."""

    at_ms: int
    arrived_at_us: int
    event: MatchEvent


def new_reader(kafka: KafkaSettings) -> AIOKafkaConsumer:
    """A client for the functions below, which sees only committed transactions."""
    # A fetch that waits for new records would delay the next chunk. A record that retention deletes meanwhile is not
    # missed: events that old are of no open sighting.
    return new_consumer(
        kafka, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=_POLL_MS
    )


async def newest_matches(
    reader: AIOKafkaConsumer, topics: Topics, below: Mapping[int, int], lookback_s: float
) -> dict[int, list[PublishedEvent]]:
    """The newest match events of each partition, oldest first, covering at least `lookback_s` if the topic does.

    Args:
        reader: started, by `new_reader`.
        topics: names the topics to read.
        below: for each partition the offset in the frames topic below which the frame of an event must be.
        lookback_s: how much time lies between the first event and the last.
    """
    sources = {TopicPartition(topics.matches, partition): partition for partition in below}
    first, end = await reader.beginning_offsets(sources), await reader.end_offsets(sources)
    found: dict[int, list[PublishedEvent]] = {partition: [] for partition in below}
    for _ in range(_MAX_CHUNKS):
        spans = {
            source: range(max(first[source], end[source] - _CHUNK_RECORDS), end[source])
            for source, partition in sources.items()
            if end[source] > first[source] and not _reaches_back(found[partition], lookback_s)
        }
        for source, records in (await _read(reader, spans)).items():
            partition = sources[source]
            found[partition] = list(_published(records, partition, below[partition])) + found[partition]
            end[source] = spans[source].start
    return found


async def silence_ends(reader: AIOKafkaConsumer, topics: Topics, since_ms: Mapping[int, int]) -> list[SightingEvent]:
    """The sightings that ended by silence in these partitions, published since these times."""
    times_ms = {TopicPartition(topics.sightings, partition): at_ms for partition, at_ms in since_ms.items()}
    end, start = await reader.end_offsets(times_ms), await reader.offsets_for_times(times_ms)
    spans = {
        source: range(max(found.offset, end[source] - _MAX_SIGHTINGS), end[source])
        for source, found in start.items()
        if found is not None
    }
    ended: list[SightingEvent] = []
    for records in (await _read(reader, spans)).values():
        for record in records:
            try:
                event = decode(record.value or b"", SightingEvent)
            except msgspec.DecodeError as error:
                _log_unreadable(record, error)
            else:
                ended += [event] if event.reason == "silent" else []
    return ended


async def _read(
    reader: AIOKafkaConsumer, spans: Mapping[TopicPartition, range]
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """The records of each partition at these offsets."""
    found: dict[TopicPartition, list[ConsumerRecord]] = {source: [] for source in spans}
    if spans:
        reader.assign(list(spans))
        async for record in read_to_end(reader, spans, poll_ms=_POLL_MS):
            found[TopicPartition(record.topic, record.partition)].append(record)
    return found


def _published(records: Iterable[ConsumerRecord], partition: int, below: int) -> Iterator[PublishedEvent]:
    for record in records:
        try:
            event = decode(record.value or b"", MatchEvent)
        except msgspec.DecodeError as error:
            _log_unreadable(record, error)
            continue
        if event.frame.partition == partition and event.frame.offset < below:
            yield PublishedEvent(record.timestamp, from_rfc3339(event.frame.arrived_at), event)


def _log_unreadable(record: ConsumerRecord, error: Exception) -> None:
    log.warning(
        "event_unreadable", topic=record.topic, partition=record.partition, offset=record.offset, error=str(error)
    )


def _reaches_back(published: Sequence[PublishedEvent], lookback_s: float) -> bool:
    """Whether they cover this time by their records and, for at least one camera, by the times of its frames.

    The two differ where a consumer was stopped, or was slower than its cameras.
    """
    if not published or published[-1].at_ms - published[0].at_ms < lookback_s * MS_PER_S:
        return False
    last_us = {one.event.frame.camera: one.arrived_at_us for one in published[-_CHUNK_RECORDS:]}
    spans_us = (last_us.get(one.event.frame.camera, 0) - one.arrived_at_us for one in published[:_CHUNK_RECORDS])
    return any(span_us >= lookback_s * US_PER_S for span_us in spans_us)
