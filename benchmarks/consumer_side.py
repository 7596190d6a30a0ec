"""The subject: one `framematch consume` process in a group of its own, and the match events that it publishes."""

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from benchmarks.steady import BatchDone
from demo.services import Service, running_service
from framematch.core.errors import FramematchError
from framematch.core.events import MatchEvent, decode
from framematch.core.kafka import new_consumer, started
from framematch.core.settings import KafkaSettings
from framematch.core.topics import Topics

_POLL_S = 0.25  # often enough to end in time, too seldom to take CPU from the consumer
_DEADLINE_S = 120.0
_MS_PER_S = 1_000
# "age" is of each frame, the others of its batch.
_STAGES = ("decode", "infer", "search", "enrich")


@dataclass(frozen=True)
class PublishedEvent:
    """When the consumer gave an event to its producer, and the time of each stage for the batch that it was in."""

    at_s: float
    timings_ms: Mapping[str, float]


@dataclass(frozen=True)
class Consumed:
    """What a consumer published, and the CPU time of its process from ready to the last event, in seconds."""

    events: tuple[PublishedEvent, ...]
    cpu_s: float


@dataclass(frozen=True)
class PublishedBatch:
    """A batch of the consumer, put together again from its events."""

    done: BatchDone
    timings_ms: Mapping[str, float]


async def consume_all(kafka: KafkaSettings, frames: int, *, environment: Mapping[str, str], logs: Path) -> Consumed:
    """Start a consumer in a new group, let it read the topic of `frames` frames from its start, and stop it.

    Raises:
        FramematchError: it ended early, or the events did not come in time.
    """
    group = {"KAFKA_GROUP_ID": f"benchmark-{uuid.uuid4().hex[:8]}"}
    async with started(new_consumer(kafka), kafka) as reader:
        partitions = [TopicPartition(Topics(kafka.topic_prefix).matches, number) for number in range(kafka.partitions)]
        begin = await reader.end_offsets(partitions)
        with running_service("consume", environment={**environment, **group}, logs=logs) as consumer:
            await asyncio.to_thread(consumer.wait_ready)
            cpu_before_s = await _cpu_s(consumer)
            await _until_published(reader, begin, frames, consumer)
            cpu_s = await _cpu_s(consumer) - cpu_before_s
            await asyncio.to_thread(consumer.stop)
        return Consumed(tuple(await _read(reader, begin, frames)), cpu_s)


async def _cpu_s(consumer: Service) -> float:
    return sum(await asyncio.to_thread(consumer.metric, "framematch_process_cpu_seconds_total"))


async def _until_published(
    reader: AIOKafkaConsumer, begin: Mapping[TopicPartition, int], events: int, consumer: Service
) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DEADLINE_S
    while True:
        end = await reader.end_offsets(list(begin))
        published = sum(end.values()) - sum(begin.values())
        if published >= events:
            return
        consumer.check()
        if loop.time() > deadline:
            raise FramematchError(f"the consumer published {published} of {events} events in {_DEADLINE_S:.0f} s")
        await asyncio.sleep(_POLL_S)


async def _read(reader: AIOKafkaConsumer, begin: Mapping[TopicPartition, int], events: int) -> list[PublishedEvent]:
    reader.assign(list(begin))
    for partition, offset in begin.items():
        reader.seek(partition, offset)
    found: list[PublishedEvent] = []
    while len(found) < events:
        for records in (await reader.getmany(timeout_ms=1_000)).values():
            found += [_event(record) for record in records]
    return found


def _event(record: ConsumerRecord) -> PublishedEvent:
    timings_ms = decode(record.value, MatchEvent).timings_ms
    return PublishedEvent(record.timestamp / _MS_PER_S, {stage: timings_ms[stage] for stage in _STAGES})


def batches_of(events: Iterable[PublishedEvent]) -> list[PublishedBatch]:
    """The batches that the consumer made: events of one batch carry the same timings.

    A batch is done when the last of its events went to the producer.
    """
    found: dict[tuple[float, ...], list[PublishedEvent]] = {}
    for event in events:
        found.setdefault(tuple(event.timings_ms.values()), []).append(event)
    return [
        PublishedBatch(BatchDone(max(event.at_s for event in batch), len(batch)), batch[0].timings_ms)
        for batch in found.values()
    ]
