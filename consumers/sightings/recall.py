"""Takes sightings up again after a restart or a rebalance, from the newest part of what was published."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import structlog

from consumers.sightings.published import Published, new_reader, newest_matches, silences
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import MatchEvent, SightingEvent
from framematch.core.kafka.clients import kafka_errors, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings, SightingSettings
from framematch.matching.sightings import SightingTracker

log = structlog.get_logger()

_DEADLINE_S = 20.0
_MARGIN_S = 5.0


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
    matches, ended = await _read(kafka, below, _lookback_s(tracker.settings))
    for frame in _frames(matches):
        try:
            tracker.restore(frame)
        except ValueError as error:
            log.warning("event_unreadable", frame=frame[0].frame.id, error=str(error))
    for event in ended:
        tracker.restore_silence_end(event)
    log.info(
        "sightings_recalled",
        partitions=sorted(below),
        records=len(matches),
        open=tracker.open_sightings,
        seconds=round(time.perf_counter() - began_s, 3),
    )


def _lookback_s(settings: SightingSettings) -> float:
    """How long what is open, or about to start, may not have been seen; by the clock of frames and by ours."""
    return settings.start_frames * settings.gap_s + settings.silent_s + _MARGIN_S


async def _read(
    kafka: KafkaSettings, below: Mapping[int, int], lookback_s: float
) -> tuple[list[Published], list[SightingEvent]]:
    """The newest match events of frames below these offsets, and the ends by silence since the first of them."""
    topics = Topics(kafka.topic_prefix)
    try:
        async with asyncio.timeout(_DEADLINE_S), started(new_reader(kafka), kafka) as reader:
            with kafka_errors(kafka):
                matches = await newest_matches(reader, topics, below, lookback_s)
                since_ms = {partition: found[0].at_ms for partition, found in matches.items() if found}
                ended = await silences(reader, topics, since_ms)
    except TimeoutError:
        raise KafkaUnavailableError(
            f"sightings could not be recalled within {_DEADLINE_S:g} s",
            hint=f"Check the broker, that we may read {topics.matches} and {topics.sightings}, and that both have as "
            f"many partitions as {topics.frames}",
        ) from None
    return [one for found in matches.values() for one in found], ended


def _frames(published: Iterable[Published]) -> Iterator[list[MatchEvent]]:
    """The events of each frame, a partition's in the order of its frames, each event once.

    After a crash the same events lie in the topic again, behind later ones.
    """
    events: dict[str, MatchEvent] = {}
    for one in published:
        events.setdefault(one.event.id, one.event)
    in_order = sorted(events.values(), key=lambda event: (event.frame.offset, event.frame.id))
    for _, frame in groupby(in_order, key=lambda event: event.frame.id):
        yield list(frame)
