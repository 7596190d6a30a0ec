"""A consumer group on a fake broker: real pipelines, whose members are assigned partitions, crash, and are joined."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalGenerationError, OffsetOutOfRangeError
from prometheus_client import CollectorRegistry

from consumers.in_flight_frame import Decided, InFlightFrame, Rejected, Skipped
from consumers.metrics import ConsumerMetrics
from consumers.pipeline import Components, Pipeline
from consumers.stages.batcher import RegionCrop, served_of
from consumers.stages.results import FrameResult, ResultBuilder
from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame
from framematch.core.health import Health, new_registry
from framematch.core.kafka.protocols import Committed, GroupConsumer, Producer
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topic_descriptions import TopicDescription
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.matching.enrich import MetadataCache
from framematch.matching.serving.served_snapshot import ServedSnapshot
from tests.support import eventually
from tests.unit.consumers.fake_kafka import FakeBroker, Step
from tests.unit.consumers.sample_frames import SERVED, TRUNCATED, UNKNOWN, prepare, record

Place = tuple[int, int]
"""Partition and offset."""


class Topic:
    """The frames topic: its records, the committed offsets, and the frames that were published, in order."""

    def __init__(self, chance: random.Random, *, partitions: int, frames: int, failures: float) -> None:
        self.chance = chance
        self.failures = failures
        self.served = SERVED
        self.partitions = [TopicPartition("framematch.frames", number) for number in range(partitions)]
        self.records: dict[TopicPartition, list[ConsumerRecord]] = defaultdict(list)
        # A consumer that reaches no broker at its start ends, as it should.
        self.plain = FakeBroker(lambda step: step != "start" and self._fails(step))
        self.transactional = {place: FakeBroker(self._fails, self.plain.output) for place in self.partitions}
        self.offsets: dict[TopicPartition, int] = {}
        self.fetch_errors: dict[TopicPartition, str] = {}
        self.markers: dict[TopicPartition, int] = defaultdict(int)
        """Offsets at the end without a record."""
        self.names: set[str] | None = None
        """The topics that exist; all when it is None."""
        self.id: bytes | None = b"first"
        self.commit_ids: dict[TopicPartition, bytes | None] = {}
        """The id of the topic to which the committed offsets belong, where it was committed too."""
        self.starts: dict[TopicPartition, int] = defaultdict(int)
        """The offset of the first record that retention has left, of each partition."""
        for _ in range(frames):
            place = chance.choice(self.partitions)
            key = f"camera-{place.partition}-{chance.randrange(2)}".encode()
            kind = chance.choice([b"1", b"1", b"2", b"5", b"bad", b"no embedding", b"skipped"])
            own = self.records[place]
            own.append(record(len(own), partition=place.partition, key=key, value=kind))

    def recreate(self, partition: TopicPartition, frames: int) -> None:
        """As if the topic were deleted and created again, and somebody sent frames to it."""
        self.id = self.id and self.id + b"again"
        self.records[partition] = [record(number, partition=partition.partition) for number in range(frames)]

    def end(self, partition: TopicPartition) -> int:
        """Behind the last record, and what is behind that."""
        return len(self.records[partition]) + self.markers[partition]

    def _fails(self, _step: Step) -> bool:
        return self.chance.random() < self.failures

    @property
    def published(self) -> list[Place]:
        """The frames whose results were published, in order, with repeats."""
        return [(int(partition), int(offset)) for partition, offset in map(bytes.split, self.plain.output)]

    def committed(self, partition: TopicPartition) -> int | None:
        """The committed offset, by either delivery."""
        return self.transactional[partition].offset or self.offsets.get(partition)

    @property
    def finished(self) -> bool:
        """Whether every frame is committed."""
        return all(self.committed(place) == len(records) for place, records in self.records.items())

    def new_producer(self, _settings: object, transactional_id: str | None = None) -> Producer:
        """Replaces `framematch.core.kafka.clients.new_producer`."""
        if transactional_id is None:
            return self.plain.new_producer()
        return self.transactional[self.partitions[int(transactional_id.rsplit("-", 1)[1])]].new_producer()


class Member:
    """A fake of aiokafka's consumer."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._may_commit = False
        self.listener: Any = None
        self.topic_ids: dict[str, bytes | None] = {}

    def subscribe(self, topics: list[str], *, listener: Any) -> None:
        """Remember the listener, which the group calls."""
        del topics
        self.listener = listener

    async def leave(self) -> None:
        """The first half of a rebalance."""
        await self.listener.on_partitions_revoked(self._assigned)
        self._may_commit = False

    async def join(self, assigned: Iterable[TopicPartition]) -> None:
        """The second half, once all members have left."""
        self._assigned = frozenset(assigned)
        self._positions = {place: self._topic.committed(place) or 0 for place in self._assigned}
        self._paused.clear()
        self._may_commit = True
        await self.listener.on_partitions_assigned(self._assigned)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        """A few records of some partitions, or none; an error for an offset that the partition does not have."""
        del timeout_ms
        await asyncio.sleep(0)
        found = {}
        for place in sorted(self._assigned - self._paused):
            start = self._positions[place]
            if not self._topic.starts[place] <= start <= self._topic.end(place):
                raise OffsetOutOfRangeError({place: start})
            records = self._topic.records[place][start : start + self._topic.chance.randrange(4)]
            if records:
                found[place] = records
                self._positions[place] = records[-1].offset + 1
            elif start >= len(self._topic.records[place]):
                self._positions[place] = self._topic.end(place)
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at this offset."""
        assert partition in self._assigned
        self._positions[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        """Return no records of these."""
        assert self._assigned.issuperset(partitions)
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Return records of these again."""
        assert self._assigned.issuperset(partitions)
        self._paused.difference_update(partitions)

    async def committed(self, partition: TopicPartition) -> int | None:
        """The committed offset, after a moment."""
        await asyncio.sleep(0)
        return self._topic.committed(partition)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Refused after a rebalance without us; fails the test for frames that were not published."""
        if not self._may_commit:
            raise IllegalGenerationError
        published = set(self._topic.published)
        for partition, offset in offsets.items():
            assert published.issuperset((partition.partition, below) for below in range(offset))
        self._topic.offsets |= offsets

    def with_topic_ids(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Without ids."""
        return offsets

    async def commits(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Committed | None]:
        """The committed offsets, after a moment."""
        offsets = {place: await self.committed(place) for place in partitions}
        ids = self._topic.commit_ids
        return {
            place: None if offset is None else Committed(offset, ids.get(place)) for place, offset in offsets.items()
        }

    async def describe(self, *topics: str) -> dict[str, TopicDescription]:
        """All have the same number of partitions."""
        names = topics if self._topic.names is None else self._topic.names.intersection(topics)
        return {name: TopicDescription(name, self._topic.id, len(self._topic.partitions)) for name in names}

    def refresh_metadata(self) -> None:
        """The metadata is fresh."""

    def next_offsets(self) -> dict[TopicPartition, int]:
        """The next offset of each partition."""
        return dict(self._positions)

    def fetch_errors(self) -> dict[TopicPartition, str]:
        """What the test says."""
        return self._topic.fetch_errors

    def uncommitted_end(self, partition: TopicPartition) -> int:
        """There are no transactions."""
        return self._topic.end(partition)

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that is left by retention."""
        await asyncio.sleep(0)
        return {place: self._topic.starts[place] for place in partitions}

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where each partition ends."""
        return {place: self._topic.end(place) for place in partitions}


class AtOnce(Executor):
    """Runs a call at once, in the caller's thread."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Returns a future that is done."""
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


class Stages:
    """Fakes the computing stages and the servers: the outcome is by the record's value, after a random time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def prepare(self, frame: InFlightFrame, served: ServedSnapshot) -> None:
        """As many regions as the value says, or the outcome that it names."""
        frame.spans["decode"] = (0, 1)
        kind = frame.record.value
        frame.header = Frame(frame.record.key.decode(), 0, frame.record.offset)
        if kind == b"bad":
            frame.outcome = TRUNCATED
        elif kind == b"skipped":
            frame.outcome = Skipped("age")
        else:
            prepare(frame, 3 if kind == b"no embedding" else int(kind), served)

    async def decide(self, batch: Sequence[RegionCrop]) -> None:
        """Decide all regions, after a random time."""
        served_of(batch)
        for _ in range(self._chance.randrange(6)):
            await asyncio.sleep(0)
        for region in batch:
            if region.frame.record.value == b"no embedding" and region.number == 1:
                region.frame.outcome = Rejected("infer", BadFrameError("invalid_embedding", "no embedding"))
            else:
                region.frame.decide(region.number, UNKNOWN)

    def encode(self, result: FrameResult) -> list[ProducerRecord]:
        """One record for each frame, which contains its partition and offset."""
        frame = result.frame
        assert frame
        assert frame.complete
        assert len(result.events) == (len(frame.regions) if isinstance(frame.outcome, Decided) else 0)
        value = f"{frame.partition.partition} {frame.record.offset}".encode()
        return [ProducerRecord("framematch.matches", result.key, value)]

    async def get_many(self, ids: list[str]) -> dict[str, Any]:
        """No product is known."""
        del ids
        return {}


class NoWatchdog:
    """A fake of the watchdog, which has tests of its own."""

    async def run(self, _progress: object) -> None:
        """Until cancelled."""
        await asyncio.Event().wait()


@dataclass
class Consumer:
    """A running pipeline and its member of the group."""

    member: Member
    pipeline: Pipeline
    task: asyncio.Task[None]
    stop: asyncio.Event
    health: Health
    registry: CollectorRegistry


class Group:
    """The consumers of a topic; no two of them own a partition."""

    def __init__(self, topic: Topic, settings: ConsumerSettings) -> None:
        self._topic = topic
        self._settings = settings
        self.consumers: list[Consumer] = []

    async def start(self) -> None:
        """Start one more consumer."""
        member, stop = Member(self._topic), asyncio.Event()
        health, registry = Health("kafka", "triton", "output"), new_registry()
        pipeline = _pipeline(self._topic, member, self._settings, health, registry)
        consumer = Consumer(member, pipeline, asyncio.create_task(pipeline.run(stop)), stop, health, registry)
        await eventually(lambda: member.listener or consumer.task.done(), timeout_s=5)
        self.consumers.append(consumer)
        await self.rebalance()

    async def crash(self) -> None:
        """The first consumer ends without finishing anything."""
        await self._end(self.consumers.pop(0))
        await self.rebalance()

    async def rebalance(self) -> None:
        """Assign the partitions to the consumers at random."""
        await asyncio.gather(*(consumer.member.leave() for consumer in self.consumers))
        places = self._topic.chance.sample(self._topic.partitions, len(self._topic.partitions))
        count = len(self.consumers)
        await asyncio.gather(*(one.member.join(places[number::count]) for number, one in enumerate(self.consumers)))

    async def finish(self) -> None:
        """Stop all consumers, and wait until they have."""
        for consumer in self.consumers:
            consumer.stop.set()
        await asyncio.wait_for(asyncio.gather(*(consumer.task for consumer in self.consumers)), 5)

    async def close(self) -> None:
        """End all that run."""
        for consumer in self.consumers:
            await self._end(consumer)

    async def _end(self, consumer: Consumer) -> None:
        consumer.task.cancel()
        await asyncio.wait([consumer.task])


def _pipeline(
    topic: Topic, member: Member, settings: ConsumerSettings, health: Health, registry: CollectorRegistry
) -> Pipeline:
    stages, metrics = Stages(topic.chance), ConsumerMetrics(registry)
    store: Any = stages
    results = ResultBuilder(metadata=MetadataCache(store), metrics=metrics)
    consumer: GroupConsumer = member  # the fake has the interface that the code uses
    fakes: dict[str, Any] = {
        "consumer": consumer,
        "served": lambda: topic.served,
        "preparer": stages,
        "decode_threads": AtOnce(),
        "inference": stages,
        "encoder": stages,
        "watchdog": NoWatchdog(),
    }
    return Pipeline(
        Components(results=results, **fakes),
        kafka=KafkaSettings(),
        settings=settings,
        metrics=metrics,
        health=health,
    )
