"""Connects to Kafka for a replay: partitions assigned by hand, no group, no commits, only committed records."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import cv2
from aiokafka import TopicPartition

from consumers.replay.decider import Decider
from consumers.replay.pairing import Found
from consumers.replay.replay import Reading, Replay
from consumers.replay.time_range import TimeRange
from consumers.stages.prepare import AgeLimits, Preparer
from framematch.core.errors import ReplayError
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.cluster_state import age_limit_ms
from framematch.core.kafka.consumer import Consumer, UnreadableRecords
from framematch.core.kafka.topics import Topics
from framematch.core.progress import OnProgress
from framematch.core.settings import AgeSettings, Settings
from framematch.core.timestamps import now_us
from framematch.core.units import US_PER_MS
from framematch.matching.gate import PictureGate
from framematch.matching.serving.served_snapshot import ServedSnapshot

# A fetch waits this long for new records: at the end of a partition, before the next one is fetched.
_FETCH_WAIT_MS = 100


@dataclass
class ReplaySession:
    """A replay that can run. `unreadable` lists the records that no client can decode, as they are met."""

    settings: Settings
    replay: Replay
    frames: Sequence[TopicPartition]
    matches: Sequence[TopicPartition]
    unreadable: list[UnreadableRecords]

    @property
    def reading(self) -> Reading:
        """What was read so far."""
        return self.replay.reading

    async def run(self) -> AsyncGenerator[Found, None]:
        """Yield what is found.

        Raises: as `Replay.run`, with KafkaUnavailableError for the client's errors.
        """
        kafka = self.settings.kafka
        limit_ms = await age_limit_ms(kafka, Topics(kafka.topic_prefix).frames)
        deleted_before_us = 0 if limit_ms is None else now_us() - limit_ms * US_PER_MS
        with kafka_errors(kafka):
            async for found in self.replay.run(self.frames, self.matches, deleted_before_us=deleted_before_us):
                yield found


@asynccontextmanager
async def open_replay(
    settings: Settings,
    served: ServedSnapshot,
    wanted: TimeRange,
    *,
    camera: str | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> AsyncIterator[ReplaySession]:
    """A replay of the range with `served`, without age limits.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
        ReplayError: there is no topic of frames.
    """
    cv2.setNumThreads(1)  # the decode threads already use all cores
    own, unreadable = settings.consumer, list[UnreadableRecords]()
    consumer = new_consumer(
        settings.kafka,
        auto_offset_reset="none",  # it must not skip frames silently
        isolation_level="read_committed",
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        on_unreadable=unreadable.append,
    )
    with ThreadPoolExecutor(own.decode_threads, "decode") as threads, ThreadPoolExecutor(1, "search") as search_thread:
        decider = Decider(
            served=served,
            preparer=Preparer(
                AgeLimits(AgeSettings(), {}),
                max_pixels=own.max_pixels,
                max_regions=own.max_regions,
                gate=PictureGate.of(settings.matching),
            ),
            threads=threads,
            search_thread=search_thread,
            batch_size=own.batch_size,
            batches_in_flight=own.batches_in_flight,
        )
        async with started(consumer, settings.kafka):
            with kafka_errors(settings.kafka):
                frames, matches = await _assign(consumer, Topics(settings.kafka.topic_prefix))
            replay = Replay(consumer, decider, wanted, camera=camera, on_progress=on_progress)
            yield ReplaySession(settings, replay, frames, matches, unreadable)


async def _assign(consumer: Consumer, topics: Topics) -> tuple[list[TopicPartition], list[TopicPartition]]:
    """Assign all partitions of both topics, paused; each is read when its turn comes."""
    described = await consumer.describe(topics.frames, topics.matches)
    if topics.frames not in described:
        raise ReplayError(
            f"there is no topic {topics.frames}", hint="Check kafka.topic_prefix, and that we may read the topic"
        )
    frames, matches = (
        [TopicPartition(name, number) for number in range(described[name].partitions)] if name in described else []
        for name in (topics.frames, topics.matches)
    )
    consumer.assign([*frames, *matches])
    for partition in [*frames, *matches]:
        consumer.seek(partition, 0)
        consumer.pause(partition)
    return frames, matches
