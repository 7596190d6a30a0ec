"""Restores open sightings after a restart or a rebalance, from the newest match events."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import structlog

from consumers.sightings.event_history import PublishedEvent, new_reader, newest_matches, silence_ends, sources
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import FrameReference, MatchEvent, SightingEvent
from framematch.core.kafka.clients import kafka_errors, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.matching.sightings import SightingTracker

log = structlog.get_logger()

_DEADLINE_S = 10.0
_MARGIN_S = 5.0


async def restore(
    kafka: KafkaSettings, tracker: SightingTracker, offsets: Mapping[int, int | None], counts: Mapping[str, int]
) -> list[FrameReference]:
    """Bring a new `tracker` into the state after the frames below these offsets.

    Call it for partitions that were just assigned, before their first frame is observed. Where output is transactional,
    fence the former owner first: events of an open transaction are not read.

    Args:
        kafka: names the topics.
        tracker: knows nothing of these partitions.
        offsets: for each partition of `.frames` the offset of the first frame that will be processed (again). None:
            no frame was processed yet, so there is nothing to restore.
        counts: the number of partitions of each topic that exists.

    Returns:
        The frames whose events were read, those of a partition in their order; none when sightings are not enabled.

    Raises:
        KafkaUnavailableError: the broker does not return what is needed in time.
    """
    below = {partition: offset for partition, offset in offsets.items() if offset is not None}
    if not below or not tracker.settings.enabled:
        return []
    start_s = time.perf_counter()
    # How old the last event of a sighting that is open, or about to start, can be; by frame times and by our clock.
    lookback_s = tracker.settings.start_frames * tracker.settings.gap_s + tracker.settings.silent_s + _MARGIN_S
    matches, ended = await _read(kafka, below, counts, lookback_s)
    frames = list(_frames(matches))
    for frame in frames:
        try:
            tracker.restore(frame)
        except ValueError as error:
            log.warning("event_unreadable", frame=frame[0].frame.id, error=str(error))
    for event in ended:
        tracker.restore_silence_end(event)
    log.info(
        "sightings_restored",
        partitions=sorted(below),
        records=len(matches),
        open=tracker.open_sightings,
        seconds=round(time.perf_counter() - start_s, 3),
    )
    return [frame[0].frame for frame in frames]


async def _read(
    kafka: KafkaSettings, below: Mapping[int, int], counts: Mapping[str, int], lookback_s: float
) -> tuple[list[PublishedEvent], list[SightingEvent]]:
    """The newest match events of frames below these offsets, and the silence ends since the first of them."""
    topics = Topics(kafka.topic_prefix)
    ended: list[SightingEvent] = []
    try:
        async with asyncio.timeout(_DEADLINE_S), started(new_reader(kafka), kafka) as reader:
            with kafka_errors(kafka):
                await reader.locate(topics.matches, topics.sightings)
                read_from = sources(topics.matches, below, counts, topics.frames)
                matches = await newest_matches(reader, read_from, below, lookback_s)
                if matches:
                    read_from = sources(topics.sightings, below, counts, topics.frames)
                    ended = await silence_ends(reader, read_from, min(one.at_ms for one in matches))
    except TimeoutError:
        raise KafkaUnavailableError(
            f"{topics.matches} and {topics.sightings} were not read within {_DEADLINE_S:g} s",
            hint="Check the broker, and the right to read these topics",
        ) from None
    return matches, ended


def _frames(published: Iterable[PublishedEvent]) -> Iterator[list[MatchEvent]]:
    """The events of each frame, those of a partition in the order of its frames, each event once.

    After a crash the same events are in the topic again, behind later ones.
    """
    events: dict[str, MatchEvent] = {}
    for one in published:
        events.setdefault(one.event.id, one.event)
    in_order = sorted(events.values(), key=lambda event: (event.frame.offset, event.frame.id))
    for _, frame in groupby(in_order, key=lambda event: event.frame.id):
        yield list(frame)
