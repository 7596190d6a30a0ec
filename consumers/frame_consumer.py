"""A member of the consumer group: opens and drains assignments, and fetches frames within bounds."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

import structlog
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError, NoOffsetForPartitionError, OffsetOutOfRangeError

from consumers.assignment import Assignment, State
from consumers.delivery.delivery import Delivery
from consumers.end_offsets import EndOffsets
from consumers.in_flight_frame import InFlightFrame
from consumers.metrics import ConsumerMetrics
from consumers.sightings.sightings import Sightings
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import Health
from framematch.core.kafka.clients import kafka_errors
from framematch.core.kafka.offsets import first_to_read, offset_ranges
from framematch.core.kafka.protocols import GroupConsumer
from framematch.core.kafka.topics import Topics
from framematch.core.lifecycle import first_of
from framematch.core.settings import ConsumerSettings, KafkaSettings

log = structlog.get_logger()

REBALANCE_TIMEOUT_MS = 60_000
"""How long the group waits for a member to finish what it has and join again."""

_DRAIN_S = 20.0  # for what is in flight at a revoke, well within the above
_REQUEST_S = 10.0
_POLL_MS = 200  # how soon an idle consumer notices that it should stop
_FULL_POLL_MS = 20  # how soon a full one notices that it may fetch again
_BACKOFF_S = (0.5, 5.0)


class FrameConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Owns the membership in the consumer group, and the current assignment.

    A partition with its share of the frames in flight is paused, so that one with a backlog leaves capacity for the
    others. It polls Kafka even when all are paused, so that a consumer that waits for Triton stays in the group.
    """

    def __init__(
        self,
        consumer: GroupConsumer,
        delivery: Delivery,
        *,
        kafka: KafkaSettings,
        settings: ConsumerSettings,
        metrics: ConsumerMetrics,
        health: Health,
    ) -> None:
        """`consumer` is not started, and has `auto_offset_reset="none"`: it must not choose an offset silently."""
        self._consumer = consumer
        self._delivery = delivery
        self._topic = Topics(kafka.topic_prefix).frames
        self._kafka = kafka
        self._settings = settings
        self._ordered_by_camera = settings.delivery == "at_least_once"  # else by partition, as its transactions are
        self._metrics = metrics
        self._health = health
        self._backoff = Backoff(*_BACKOFF_S)
        self._end_offsets = EndOffsets(consumer, metrics)
        self._assigned = asyncio.Event()
        self.assignment: Assignment | None = None
        """None while the group rebalances."""
        self.fetched = 0
        """Frames fetched since the start."""

    async def run(self, stop: asyncio.Event) -> None:
        """Fetch until `stop` is set; then finish and commit the frames that a stage works on.

        Raises:
            KafkaUnavailableError: Kafka refuses access, or returns what cannot be read. While it is unreachable, this
                waits.
        """
        self._consumer.subscribe([self._topic], listener=self)
        with kafka_errors(self._kafka):
            while not stop.is_set():
                if self.assignment and self.assignment.state is State.ASSIGNED:
                    await self._open(self.assignment)
                if self.assignment and self.assignment.state is State.OPEN:
                    self._pause_and_resume(self.assignment)
                await self._fetch()
        if self.assignment:
            self.assignment.in_flight.drop_waiting()
            await self.assignment.drained()
        await self._delivery.commit()

    async def current_assignment(self) -> Assignment:
        """Wait until there is one."""
        while self.assignment is None:
            await self._assigned.wait()
        return self.assignment

    def positions(self) -> Mapping[TopicPartition, int] | None:
        """The next offset to fetch of each of our partitions; None while the group rebalances."""
        if self.assignment is None or self.assignment.state is not State.OPEN:
            return None
        return dict(self.assignment.positions)

    async def refresh_lag(self) -> None:
        """Ask Kafka where our partitions end; while it does not answer, this consumer is not ready."""
        open_partitions = self.assignment.fetchable if self.assignment else frozenset()
        await self._end_offsets.refresh(open_partitions)
        if self.positions() is not None and self._end_offsets.kafka_unreachable:
            self._health.set_not_ready("kafka", "Kafka does not answer")
        elif self.positions() is not None:
            self._health.set_ready("kafka")

    def lag(self) -> dict[TopicPartition, int]:
        """Frames not yet fetched, by partition, as of the last `refresh_lag`; only where it is known."""
        if self.assignment is None:
            return {}
        positions, ends = self.assignment.positions, self._end_offsets.known
        known = self.assignment.fetchable & ends.keys()
        return {partition: max(0, ends[partition] - positions[partition]) for partition in known}

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka, which would hide an error: `run` opens the partitions."""
        partitions = frozenset(assigned)
        if partitions:
            self._consumer.pause(*partitions)
        sightings = Sightings(self._kafka, self._settings.sightings, self._metrics)
        self.assignment = Assignment(partitions, self._settings, sightings)
        self._assigned.set()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka: finish and commit what is in flight, so that the next owner repeats little."""
        self._health.set_not_ready("kafka", "the group rebalances")
        assignment, numbers = self.assignment, _numbers(revoked)
        if assignment:
            assignment.state = State.DRAINING
            if numbers:
                self._metrics.rebalances.inc()
                log.info("partitions_revoked", partitions=numbers, in_flight=assignment.in_flight.active)
                await self._drain(assignment)
            self.assignment = None
            self._assigned.clear()
            assignment.revoke()
        self._metrics.lag.clear()  # the next owner reports it
        await self._delivery.on_revoked()

    async def _drain(self, assignment: Assignment) -> None:
        assignment.in_flight.drop_waiting()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await first_of(assignment.drained(), self._delivery.wait_fenced())
        if len(assignment.in_flight):
            log.warning("drain_incomplete", in_flight=len(assignment.in_flight))
        try:
            async with asyncio.timeout(_REQUEST_S):
                await self._delivery.commit()
        except TimeoutError:
            log.warning("commit_failed", error="no answer in time")

    async def _open(self, assignment: Assignment) -> None:
        """Start at the committed offsets, which are read after the delivery has claimed the partitions."""
        partitions = assignment.partitions
        try:
            await self._delivery.on_assigned(partitions)
            committed = await self._committed(partitions)
            ranges = await offset_ranges(self._consumer, partitions)
            start_at = self._settings.start_at
            positions = {one: first_to_read(ranges[one], committed[one], start_at) for one in partitions}
            # Without a commit `start_at` would decide again at the next rebalance, and could skip frames.
            if new := {one: positions[one] for one in partitions if committed[one] is None}:
                await self._consumer.commit(new)
            await assignment.sightings.restore(
                {one: None if offset is None else min(offset, positions[one]) for one, offset in committed.items()}
            )
        except (KafkaUnavailableError, KafkaError) as error:
            delay_s = self._backoff.next_delay_s()
            log.warning("partitions_not_opened", error=str(error), delay_s=round(delay_s, 3))
            await asyncio.sleep(delay_s)
            return
        if assignment.state is not State.ASSIGNED:  # the group rebalances meanwhile
            await self._delivery.on_revoked()
            return
        for partition, offset in committed.items():
            self._seek(assignment, partition, positions[partition], expected=offset)
        assignment.state = State.OPEN
        self._backoff.reset()
        self._health.set_ready("kafka")
        log.info("partitions_assigned", partitions=_numbers(partitions))

    async def _committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
        ordered = sorted(partitions)
        offsets = await asyncio.gather(*(self._consumer.committed(partition) for partition in ordered))
        return dict(zip(ordered, offsets, strict=True))

    def _seek(self, assignment: Assignment, partition: TopicPartition, position: int, *, expected: int | None) -> None:
        """Read on at `position`; reports it when Kafka does not have the `expected` offset any more."""
        self._consumer.seek(partition, position)
        assignment.positions[partition] = position
        if expected is None or expected == position:
            return
        lost = max(0, position - expected)
        self._metrics.frames_lost.labels("retention").inc(lost)
        log.warning(
            "offsets_jumped",
            partition=partition.partition,
            from_offset=expected,
            to_offset=position,
            frames_lost=lost,
            reason="retention" if lost else "partition_truncated",
        )

    def _pause_and_resume(self, assignment: Assignment) -> None:
        full = assignment.in_flight.full(assignment.partitions)
        if full - assignment.paused:
            self._consumer.pause(*(full - assignment.paused))
        if assignment.paused - full:
            self._consumer.resume(*(assignment.paused - full))
        assignment.paused = full

    async def _fetch(self) -> None:
        """Fetch what Kafka has for us.

        Raises:
            KafkaUnavailableError: the client cannot read a record, and so none behind it; or the topic was recreated.
        """
        timeout_ms = _FULL_POLL_MS if self.assignment and self.assignment.paused else _POLL_MS
        try:
            self._accept(await self._consumer.getmany(timeout_ms=timeout_ms))
        except NoOffsetForPartitionError:
            return  # not open yet
        except OffsetOutOfRangeError as error:
            if self.assignment:
                await self._skip_deleted(self.assignment, error.args[0])
        except UnicodeDecodeError as error:
            raise KafkaUnavailableError(
                f"a record in {self._topic} has a header whose name is not UTF-8 ({error})",
                hint="Move the group past it: kafka-consumer-groups.sh --reset-offsets --shift-by 1, for its partition",
            ) from error

    def _accept(self, fetched: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        fetched_ns = time.time_ns()
        assignment = self.assignment
        for partition, records in fetched.items():
            if assignment is None or partition not in assignment.fetchable:
                continue  # revoked while it was fetched
            for record in records:
                key = (partition, record.key) if self._ordered_by_camera else partition
                frame = InFlightFrame(record, key, fetched_ns)
                self._delivery.fetched(frame)
                assignment.add(frame)
            assignment.positions[partition] = records[-1].offset + 1
            self.fetched += len(records)

    async def _skip_deleted(self, assignment: Assignment, missing: Mapping[TopicPartition, int]) -> None:
        """Kafka does not have the next offsets: read on at the earliest frame where retention has overtaken us.

        Raises:
            KafkaUnavailableError: the partition ends before the next offset.
        """
        positions, ranges = assignment.positions, {}
        ours = [one for one in missing if one in assignment.fetchable and positions[one] == missing[one]]
        with suppress(TimeoutError, KafkaTimeoutError):  # the next fetch finds the same
            async with asyncio.timeout(_REQUEST_S):
                ranges = await offset_ranges(self._consumer, ours)
        if assignment.state is not State.OPEN:
            return
        for partition, available in ranges.items():
            if positions[partition] > available.stop:
                raise KafkaUnavailableError(
                    f"partition {partition.partition} of {self._topic} ends at offset {available.stop}, before offset "
                    f"{positions[partition]} that comes next: the topic was recreated",
                    hint="Restart the consumer: it continues at the first record of the new topic",
                )
            if positions[partition] < available.start:
                self._seek(assignment, partition, available.start, expected=positions[partition])


def _numbers(partitions: Iterable[TopicPartition]) -> list[int]:
    return sorted(partition.partition for partition in partitions)
