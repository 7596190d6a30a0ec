"""Reads what consumers have published for some partitions: the newest match events, and ends by silence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from framematch.core.events import MatchEvent, SightingEvent, decode
from framematch.core.kafka.clients import new_consumer
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.reading import read_to_end
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


def new_reader(kafka: KafkaSettings) -> Consumer:
    """A client for the functions below, which sees only committed transactions."""
    # A fetch that waits for new records would delay the next chunk. A record that retention deletes meanwhile is not
    # missed: events that old are of no open sighting.
    return new_consumer(
        kafka, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=_POLL_MS
    )


def sources(topic: str, partitions: Iterable[int], counts: Mapping[str, int], frames: str) -> list[TopicPartition]:
    """The partitions of `topic` that contain the events of these partitions of the topic `frames`.

    Those with the same numbers, as consumers publish them there; all when the topics have different numbers of
    partitions (`counts`), since events then go by their key. None when the topic does not exist.
    """
    count = counts.get(topic, 0)
    numbers = partitions if count == counts.get(frames) else range(count)
    return [TopicPartition(topic, number) for number in numbers]


async def newest_matches(
    reader: Consumer, read_from: Iterable[TopicPartition], below: Mapping[int, int], lookback_s: float
) -> list[PublishedEvent]:
    """The newest match events of some partitions of frames, covering at least `lookback_s` if the topic does.

    Args:
        reader: started, by `new_reader`.
        read_from: the partitions of the events; the events of each are returned oldest first.
        below: for each partition of the frames topic the offset below which the frame of an event must be.
        lookback_s: how much time lies between the first event and the last.
    """
    found: dict[TopicPartition, list[PublishedEvent]] = {source: [] for source in read_from}
    ranges = await offset_ranges(reader, found.keys())
    for _ in range(_MAX_CHUNKS):
        spans = {
            source: range(max(offsets.start, offsets.stop - _CHUNK_RECORDS), offsets.stop)
            for source, offsets in ranges.items()
            if offsets and not _reaches_back(found[source], lookback_s)
        }
        for source, records in (await _read(reader, spans)).items():
            found[source] = list(_published(records, below)) + found[source]
            ranges[source] = range(ranges[source].start, spans[source].start)
    return [event for events in found.values() for event in events]


async def silence_ends(reader: Consumer, read_from: Iterable[TopicPartition], since_ms: int) -> list[SightingEvent]:
    """The sightings that ended by silence, in these partitions of the sightings topic, published since this time."""
    times_ms = dict.fromkeys(read_from, since_ms)
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
                log_unreadable(record, error)
            else:
                ended += [event] if event.reason == "silent" else []
    return ended


async def _read(reader: Consumer, spans: Mapping[TopicPartition, range]) -> dict[TopicPartition, list[ConsumerRecord]]:
    """The records of each partition at these offsets."""
    found: dict[TopicPartition, list[ConsumerRecord]] = {source: [] for source in spans}
    if spans:
        reader.assign(list(spans))
        async for record in read_to_end(reader, spans, poll_ms=_POLL_MS):
            found[TopicPartition(record.topic, record.partition)].append(record)
    return found


def _published(records: Iterable[ConsumerRecord], below: Mapping[int, int]) -> Iterator[PublishedEvent]:
    for record in records:
        try:
            event = decode(record.value or b"", MatchEvent)
        except msgspec.DecodeError as error:
            log_unreadable(record, error)
            continue
        if event.frame.offset < below.get(event.frame.partition, 0):
            yield PublishedEvent(record.timestamp, from_rfc3339(event.frame.arrived_at), event)


def log_unreadable(record: ConsumerRecord, error: Exception) -> None:
    """Report a record that is no event of the kind that its topic contains."""
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
