"""A consumer group on a fake broker: real pipelines, whose members get partitions, crash, and are joined by others."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalGenerationError

from consumers.metrics import ConsumerMetrics
from consumers.pipeline import Parts, Pipeline
from consumers.stages.answers import Answer, Answers
from consumers.stages.batcher import RegionOf
from consumers.work import Work
from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame
from framematch.core.health import Health, new_registry
from framematch.core.kafka.protocols import GroupConsumer, Producer
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.matching.decision import Thresholds
from framematch.matching.enrich import MetadataCache
from framematch.matching.sightings import Observed
from tests.support import eventually
from tests.unit.consumers.fake_kafka import FakeBroker, Step
from tests.unit.consumers.made_up_work import BAD, UNKNOWN, prepare, record

Place = tuple[int, int]
"""Partition and offset."""


class Topic:
    """The frames topic: its records, the committed offsets, and the frames whose results were published, in order."""

    def __init__(self, chance: random.Random, *, partitions: int, frames: int, failures: float) -> None:
        self.chance = chance
        self.failures = failures
        self.partitions = [TopicPartition("framematch.frames", number) for number in range(partitions)]
        self.records: dict[TopicPartition, list[ConsumerRecord]] = defaultdict(list)
        # A consumer that reaches no broker at its start ends, as it should.
        self.plain = FakeBroker(lambda step: step != "start" and self._fails(step))
        self.transactional = {place: FakeBroker(self._fails, self.plain.output) for place in self.partitions}
        self.offsets: dict[TopicPartition, int] = {}
        for _ in range(frames):
            place = chance.choice(self.partitions)
            key = f"camera-{place.partition}-{chance.randrange(2)}".encode()
            kind = chance.choice([b"1", b"1", b"2", b"5", b"bad", b"blamed", b"skipped"])
            own = self.records[place]
            own.append(record(len(own), partition=place.partition, key=key, value=kind))

    def _fails(self, _step: Step) -> bool:
        return self.chance.random() < self.failures

    @property
    def published(self) -> list[Place]:
        """The frames whose results were published, in order, with repeats."""
        return [(int(partition), int(offset)) for partition, offset in map(bytes.split, self.plain.output)]

    def committed(self, partition: TopicPartition) -> int | None:
        """The offset that either delivery has committed."""
        return self.transactional[partition].offset or self.offsets.get(partition)

    @property
    def finished(self) -> bool:
        """Whether every offset is committed."""
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

    def subscribe(self, topics: list[str], *, listener: Any) -> None:
        """The group calls this listener."""
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

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions of the last join."""
        return self._assigned

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        """A few records of some partitions, or none."""
        del timeout_ms
        await asyncio.sleep(0)
        found = {}
        for place in sorted(self._assigned - self._paused):
            begin = self._positions[place]
            records = self._topic.records[place][begin : begin + self._topic.chance.randrange(4)]
            if records:
                found[place] = records
                self._positions[place] = records[-1].offset + 1
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from there."""
        assert partition in self._assigned
        self._positions[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing from these."""
        assert self._assigned.issuperset(partitions)
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch from these again."""
        assert self._assigned.issuperset(partitions)
        self._paused.difference_update(partitions)

    async def committed(self, partition: TopicPartition) -> int | None:
        """The offset that either delivery has committed."""
        await asyncio.sleep(0)
        return self._topic.committed(partition)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Refused after a rebalance; covers only frames whose results were published."""
        if not self._may_commit:
            raise IllegalGenerationError
        published = set(self._topic.published)
        for partition, offset in offsets.items():
            assert published.issuperset((partition.partition, below) for below in range(offset))
        self._topic.offsets |= offsets

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Nothing was deleted."""
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The number of frames."""
        return {place: len(self._topic.records[place]) for place in partitions}

    async def position(self, partition: TopicPartition) -> int:
        """The next offset."""
        return self._positions[partition]


class AtOnce(Executor):
    """Runs each call at once, in the caller's thread."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Returns a future that is done."""
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


class Stages:
    """Fakes of the preparer, the inference, the record encoder and the product store.

    What happens to a frame is in its record's value; batches end in any order.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def prepare(self, work: Work) -> None:
        """As many regions as the value says, or an error, or a frame to skip."""
        work.spans["decode"] = (0, 1)
        kind = work.record.value
        work.frame = Frame(work.record.key.decode(), 0, work.record.offset)
        work.bad = BAD if kind == b"bad" else None
        work.skipped = "age" if kind == b"skipped" else None
        if not work.complete:
            prepare(work, 3 if kind == b"blamed" else int(kind))

    async def decide(self, batch: Sequence[RegionOf]) -> None:
        """After a random number of loop iterations."""
        for _ in range(self._chance.randrange(6)):
            await asyncio.sleep(0)
        for region in batch:
            region.work.decisions[region.number] = UNKNOWN
            if region.work.record.value == b"blamed" and region.number == 1:
                region.work.bad = BadFrameError("invalid_embedding", "to blame")

    def encode(self, result: Answer) -> list[ProducerRecord]:
        """One record for each frame, with its partition and offset."""
        work = result.work
        assert work
        assert work.complete
        assert len(result.events) == (0 if work.bad or work.skipped else len(work.regions))
        value = f"{work.partition.partition} {work.record.offset}".encode()
        return [ProducerRecord("framematch.matches", result.key, value)]

    async def get_many(self, ids: list[str]) -> dict[str, Any]:
        """No product is known."""
        del ids
        return {}


class NoSightings:
    """A fake of the sightings, which have tests of their own."""

    async def recall(self, _positions: object) -> None:
        """Restores nothing."""
        await asyncio.sleep(0)

    def forget(self) -> None:
        """Does nothing."""

    def observe(self, events: Sequence[Any]) -> Observed:
        """The events as they are."""
        return Observed(tuple(events))

    def of_silent_cameras(self, _caught_up: object) -> list[Answer]:
        """None."""
        return []


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


class Group:
    """The consumers of a topic; no two of them own a partition."""

    def __init__(self, topic: Topic, settings: ConsumerSettings) -> None:
        self._topic = topic
        self._settings = settings
        self.consumers: list[Consumer] = []

    async def start(self) -> None:
        """Start one more consumer."""
        member, stop = Member(self._topic), asyncio.Event()
        pipeline = _pipeline(self._topic, member, self._settings)
        consumer = Consumer(member, pipeline, asyncio.create_task(pipeline.run(stop)), stop)
        await eventually(lambda: member.listener or consumer.task.done(), timeout_s=5)
        self.consumers.append(consumer)
        await self.rebalance()

    async def crash(self) -> None:
        """Kill the first consumer."""
        await self._end(self.consumers.pop(0))
        await self.rebalance()

    async def rebalance(self) -> None:
        """Revoke all partitions and assign them anew."""
        await asyncio.gather(*(consumer.member.leave() for consumer in self.consumers))
        places = self._topic.chance.sample(self._topic.partitions, len(self._topic.partitions))
        count = len(self.consumers)
        await asyncio.gather(*(one.member.join(places[number::count]) for number, one in enumerate(self.consumers)))

    async def finish(self) -> None:
        """Tell all consumers to stop, and wait until they have."""
        for consumer in self.consumers:
            consumer.stop.set()
        await asyncio.wait_for(asyncio.gather(*(consumer.task for consumer in self.consumers)), 5)

    async def close(self) -> None:
        """Kill the consumers that still run."""
        for consumer in self.consumers:
            await self._end(consumer)

    async def _end(self, consumer: Consumer) -> None:
        consumer.task.cancel()
        await asyncio.wait([consumer.task])


def _pipeline(topic: Topic, member: Member, settings: ConsumerSettings) -> Pipeline:
    stages, metrics, none = Stages(topic.chance), ConsumerMetrics(new_registry()), NoSightings()
    consumer: GroupConsumer = member  # the fake has the interface that the code uses
    matcher: Any = SimpleNamespace(thresholds=Thresholds(0.5, 0.1), manifest=SimpleNamespace(id="snapshot"))
    model: Any = SimpleNamespace(name="small", digest="00ff")
    store: Any = stages
    answers = Answers(
        matcher=matcher, model=model, metadata=MetadataCache(store), observe=none.observe, metrics=metrics
    )
    stand_ins: dict[str, Any] = {
        "consumer": consumer,
        "preparer": stages,
        "decode_threads": AtOnce(),
        "inference": stages,
        "sightings": none,
        "encoder": stages,
        "watchdog": NoWatchdog(),
    }
    return Pipeline(
        Parts(answers=answers, **stand_ins),
        kafka=KafkaSettings(),
        settings=settings,
        metrics=metrics,
        health=Health("kafka", "triton", "output"),
    )
