"""Takes sightings up again after a restart or a rebalance, from the newest part of what was published."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import MatchEvent, SightingEvent, decode
from framematch.core.kafka import kafka_errors, new_consumer, started
from framematch.core.settings import KafkaSettings, SightingSettings
from framematch.core.timestamps import from_rfc3339
from framematch.core.topics import Topics
from framematch.matching.sightings import SightingTracker

log = structlog.get_logger()

_DEADLINE_S = 10.0
_POLL_MS = 20
_MARGIN_S = 5.0
# A partition is read from its end back, in parts of so many records. 20 cameras at 5 frames a second need 4 of them.
_PART = 512
_MOST_PARTS = 16
_MOST_SIGHTINGS = 2_048

_match_event = msgspec.json.Decoder(MatchEvent)  # thousands are read at once: 1.6 times as fast as without


@dataclass(frozen=True)
class _Published:
    """A match event, when its record was made and when its frame came."""

    at_ms: int
    came_at_us: int
    event: MatchEvent


async def recall(kafka: KafkaSettings, tracker: SightingTracker, committed: Mapping[int, int | None]) -> None:
    """Give `tracker` the state that it had when the frames below the committed offsets had been observed.

    Call it for partitions that were just assigned, before their first frame is observed. Where output is transactional,
    fence the former owner first: what its open transaction hides is not read.

    Args:
        kafka: where `.matches` and `.sightings` are; both have as many partitions as `.frames`.
        tracker: has forgotten these partitions, or never knew them.
        committed: for each partition of `.frames` the offset of the first frame that will be answered again. None:
            nothing was committed, and nothing is recalled.

    Raises:
        KafkaUnavailableError: the broker does not give us what is needed in time.
    """
    below = {partition: offset for partition, offset in committed.items() if offset is not None}
    if not below or not tracker.settings.enabled:
        return
    began_s = time.perf_counter()
    try:
        async with (
            asyncio.timeout(_DEADLINE_S),
            started(_reader(kafka), kafka) as consumer,
        ):
            with kafka_errors(kafka):
                matches = await _newest_matches(consumer, kafka, below, _lookback_s(tracker.settings))
                since_ms = {partition: found[0].at_ms for partition, found in matches.items() if found}
                silences = await _silences(consumer, kafka, since_ms)
    except TimeoutError:
        raise KafkaUnavailableError(
            f"sightings could not be recalled within {_DEADLINE_S:g} s",
            hint="Check the broker, that we may read .matches and .sightings, and that both have as many partitions as "
            ".frames",
        ) from None
    for partition, published in matches.items():
        for frame in _frames(published, partition, below[partition]):
            try:
                tracker.recall(frame)
            except ValueError as error:
                log.warning("event_unreadable", frame=frame[0].frame.id, error=str(error))
    for ended in silences:
        tracker.recall_silence(ended)
    log.info(
        "sightings_recalled",
        partitions=sorted(below),
        records=sum(map(len, matches.values())),
        open=tracker.sightings,
        seconds=round(time.perf_counter() - began_s, 3),
    )


def _lookback_s(settings: SightingSettings) -> float:
    """How long what is open, or about to start, may not have been seen; by the clock of frames and by ours."""
    return settings.start_frames * settings.gap_s + settings.silent_s + _MARGIN_S


def _reader(kafka: KafkaSettings) -> AIOKafkaConsumer:
    # A fetch that waits for new records would hold up the next part.
    return new_consumer(
        kafka, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=_POLL_MS
    )


async def _newest_matches(
    consumer: AIOKafkaConsumer, kafka: KafkaSettings, partitions: Iterable[int], lookback_s: float
) -> dict[int, list[_Published]]:
    """The newest match events of each partition, oldest first, back to `lookback_s` before the last one or more."""
    topic = Topics(kafka.topic_prefix).matches
    of = {TopicPartition(topic, partition): partition for partition in partitions}
    first, end = await consumer.beginning_offsets(of), await consumer.end_offsets(of)
    found: dict[int, list[_Published]] = {partition: [] for partition in of.values()}
    for _ in range(_MOST_PARTS):
        spans = {
            place: (max(first[place], end[place] - _PART), end[place])
            for place, partition in of.items()
            if end[place] > first[place] and not _reaches_back(found[partition], lookback_s)
        }
        for place, part in (await _read(consumer, spans)).items():
            found[of[place]] = list(_published(part)) + found[of[place]]
            end[place] = spans[place][0]
    return found


async def _silences(
    consumer: AIOKafkaConsumer, kafka: KafkaSettings, since_ms: Mapping[int, int]
) -> list[SightingEvent]:
    """The ends by silence that were published in these partitions since these times."""
    topic = Topics(kafka.topic_prefix).sightings
    times_ms = {TopicPartition(topic, partition): at_ms for partition, at_ms in since_ms.items()}
    end, at = await consumer.end_offsets(times_ms), await consumer.offsets_for_times(times_ms)
    spans = {
        place: (max(found.offset, end[place] - _MOST_SIGHTINGS), end[place])
        for place, found in at.items()
        if found is not None
    }
    silences = []
    for records in (await _read(consumer, spans)).values():
        for record in records:
            try:
                event = decode(record.value or b"", SightingEvent)
            except msgspec.DecodeError as error:
                _unreadable(record, error)
            else:
                silences += [event] if event.reason == "silent" else []
    return silences


async def _read(
    consumer: AIOKafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]]
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """The records of each partition from the first of two offsets to before the second."""
    if not spans:
        return {}
    consumer.assign(list(spans))
    for place, (start, _) in spans.items():
        consumer.seek(place, start)
    found: dict[TopicPartition, list[ConsumerRecord]] = {place: [] for place in spans}
    left = {place for place, (start, end) in spans.items() if start < end}
    while left:
        for place, records in (await consumer.getmany(*left, timeout_ms=_POLL_MS)).items():
            found[place] += [record for record in records if record.offset < spans[place][1]]
        left = {place for place in left if await consumer.position(place) < spans[place][1]}
    return found


def _published(records: Iterable[ConsumerRecord]) -> Iterable[_Published]:
    for record in records:
        try:
            event = _match_event.decode(record.value or b"")
            yield _Published(record.timestamp, from_rfc3339(event.frame.came_at), event)
        except (msgspec.DecodeError, ValueError) as error:
            _unreadable(record, error)


def _unreadable(record: ConsumerRecord, error: Exception) -> None:
    log.warning(
        "event_unreadable", topic=record.topic, partition=record.partition, offset=record.offset, error=str(error)
    )


def _reaches_back(published: Sequence[_Published], lookback_s: float) -> bool:
    """Whether they cover so much of our time and, of one camera at least, so much of the time of its frames.

    The one differs from the other where a consumer was away, or was slower than its cameras.
    """
    if not published or published[-1].at_ms - published[0].at_ms < lookback_s * 1_000:
        return False
    last_us = {one.event.frame.camera: one.came_at_us for one in published[-_PART:]}
    spans_us = (last_us.get(one.event.frame.camera, 0) - one.came_at_us for one in published[:_PART])
    return any(span_us >= lookback_s * 1_000_000 for span_us in spans_us)


def _frames(published: Iterable[_Published], partition: int, below: int) -> Iterable[list[MatchEvent]]:
    """The events of each frame of the partition below the offset, in the order of frames, each event once.

    After a crash the same events lie in the topic again, behind later ones.
    """
    events: dict[str, MatchEvent] = {}
    for one in published:
        if one.event.frame.partition == partition and one.event.frame.offset < below:
            events.setdefault(one.event.id, one.event)
    in_order = sorted(events.values(), key=lambda event: (event.frame.offset, event.frame.id))
    return (list(frame) for _, frame in groupby(in_order, key=lambda event: event.frame.id))
