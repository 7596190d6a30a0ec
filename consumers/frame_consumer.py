"""A member of the consumer group: opens and drains assignments, and fetches frames within bounds."""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import structlog
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from consumers.assignment import Assignment, State
from consumers.delivery.delivery import Delivery
from consumers.end_offsets import EndOffsets
from consumers.in_flight_frame import InFlightFrame
from consumers.metrics import ConsumerMetrics
from consumers.pulse import Pulse
from consumers.sightings.sightings import Sightings
from consumers.stages.calibration import CalibrationWatch
from consumers.topic_watch import TopicWatch
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import Health
from framematch.core.kafka.clients import kafka_errors
from framematch.core.kafka.offsets import Jump, OffsetJudge
from framematch.core.kafka.protocols import GroupConsumer
from framematch.core.kafka.topics import Topics
from framematch.core.lifecycle import first_of
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

REBALANCE_TIMEOUT_MS = 60_000
"""How long the group waits for a member to finish what it has and join again."""

_DRAIN_S = 20.0  # for what is in flight at a revoke, well within the above
_REQUEST_S = 10.0
_POLL_MS = 200  # how soon an idle consumer notices that it should stop
_SHORT_POLL_MS = 20  # how soon a full one notices that it may fetch again, and one without partitions that it has some
_BACKOFF_S = (0.5, 5.0)
_PAUSE_S = 1.0  # a longer one, and topics may have changed unnoticed


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
        """`consumer` has `auto_offset_reset="none"`: it must not choose an offset silently."""
        topics = Topics(kafka.topic_prefix)
        self._consumer = consumer
        self._delivery = delivery
        self._topic = topics.frames
        self._kafka = kafka
        self._settings = settings
        self._ordered_by_camera = settings.delivery == "at_least_once"  # else by partition, as its transactions are
        self._metrics = metrics
        self._health = health
        self._backoff = Backoff(*_BACKOFF_S)
        self._end_offsets = EndOffsets(consumer, metrics)
        self._topics = TopicWatch(consumer, topics, health)
        self._offsets = OffsetJudge(
            consumer, topics.frames, settings.start_at, commits=True, unit="frames", on_jump=self._count_jump
        )
        session_s = settings.session_timeout_ms / MS_PER_S
        # With transactions the next owner fences us, so a pause needs no care.
        self._session_s = session_s if settings.delivery == "at_least_once" else math.inf
        self.pulse = Pulse(min(_PAUSE_S, session_s))
        self._unreadable = False
        self._assigned = asyncio.Event()
        self.assignment: Assignment | None = None
        """None while the group rebalances."""
        self.fetched = 0
        """Frames fetched since the start."""

    async def run(self, stop: asyncio.Event) -> None:
        """Fetch until `stop` is set; then finish and commit the frames that a stage works on.

        Raises:
            KafkaUnavailableError: Kafka refuses access. While it is unreachable, this waits.
        """
        self._consumer.subscribe([self._topic], listener=self)
        with kafka_errors(self._kafka):
            while not stop.is_set():
                await self._check_membership()
                if self.assignment and self.assignment.state is State.ASSIGNED:
                    await self._open(self.assignment)
                if self.assignment and self.assignment.state is State.OPEN:
                    self._pause_and_resume(self.assignment)
                await self._fetch()
        if self.assignment:
            self.assignment.in_flight.drop_waiting()
            self._delivery.finish()
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
        ours = self.assignment.partitions
        return {one: offset for one, offset in self._consumer.next_offsets().items() if one in ours}

    @property
    def frames_partitions(self) -> int | None:
        """How many partitions the topic of frames has; None while that is not known."""
        return self._topics.frames.partitions if self._topics.frames else None

    def may_publish(self) -> bool:
        """False after the process was frozen for a session: others may own its partitions, and be ahead of it.

        Always true with transactions, in which only the owner of a partition can publish.
        """
        return self.pulse.frozen_s() < self._session_s

    async def refresh_lag(self) -> None:
        """Ask Kafka where our partitions end, and about the topics; while it does not answer, we are not ready."""
        open_partitions = self.assignment.fetchable if self.assignment and self._topics.frames else frozenset()
        await asyncio.gather(self._topics.refresh(), self._end_offsets.refresh(open_partitions))
        if self.positions() is not None and self._end_offsets.kafka_unreachable:
            self._health.set_not_ready("kafka", "Kafka does not answer")
        elif self.positions() is not None:
            self._health.set_ready("kafka")
        errors = [f"partition {one.partition} ({error})" for one, error in self._consumer.fetch_errors().items()]
        if errors:
            reason = f"the broker cannot read {', '.join(sorted(errors))} of {self._topic}"
            self._health.set_not_ready("kafka", reason, source="fetch")
        elif self._unreadable:
            self._health.set_ready("kafka", source="fetch")
        self._unreadable = bool(errors)

    def lag(self) -> dict[TopicPartition, int]:
        """Frames not yet fetched, by partition, as of the last `refresh_lag`; only where it is known.

        Frames of a transaction that is still open count, although they cannot be fetched yet.
        """
        ends, positions = self._end_offsets.known, self.positions() or {}
        known = positions.keys() & ends.keys()
        return {one: max(0, max(ends[one], self._consumer.uncommitted_end(one)) - positions[one]) for one in known}

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka, which would hide an error: `run` opens the partitions."""
        self._assign(frozenset(assigned))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka: finish and commit what is in flight, so that the next owner repeats little."""
        self._health.set_not_ready("kafka", "the group rebalances")
        assignment, numbers = self.assignment, _numbers(revoked)
        if assignment:
            assignment.state = State.DRAINING
            if numbers:
                self._metrics.rebalances.inc()
                log.info("partitions_revoked", partitions=numbers, in_flight=assignment.in_flight.active)
                assignment.in_flight.drop_waiting()
                await self._drain(assignment)
                await self._commit()
        await self._release(assignment)

    def _assign(self, partitions: frozenset[TopicPartition]) -> None:
        if partitions:
            self._consumer.pause(*partitions)
        self.pulse.reset()
        sightings = Sightings(self._kafka, self._settings.sightings, self._metrics)
        self.assignment = Assignment(partitions, self._settings, sightings, CalibrationWatch(self._metrics))
        self._assigned.set()

    async def _release(self, assignment: Assignment | None) -> None:
        if assignment:
            self.assignment = None
            self._assigned.clear()
            assignment.revoke()
        self._metrics.lag.clear()  # the next owner reports it
        await self._delivery.on_revoked()

    async def _check_membership(self) -> None:
        """Open the partitions again when we may have lost them unnoticed, or when their topic was recreated."""
        assignment, frozen_s = self.assignment, self.pulse.frozen_s()
        if assignment is None or assignment.state is not State.OPEN:
            return
        if frozen_s >= self._session_s:
            log.warning("partitions_reopened", reason="process_frozen", seconds=round(frozen_s, 3))
            await self._reopen(assignment)
            return
        if frozen_s:
            await self._topics.refresh()
            self.pulse.reset()
        if self._topics.frames and self._offsets.recreated(self._topics.frames, assignment.partitions):
            log.warning("partitions_reopened", reason="topic_recreated", in_flight=len(assignment.in_flight))
            await self._drain(assignment)  # without a commit, whose offsets are not those of the new topic
            if self.assignment is assignment:  # else the group rebalances
                await self._reopen(assignment)

    async def _reopen(self, assignment: Assignment) -> None:
        await self._release(assignment)
        self._assign(assignment.partitions)

    def _count_jump(self, jump: Jump) -> None:
        self._metrics.offset_jumps.labels(jump.reason).inc()
        if jump.reason == "retention":
            self._metrics.frames_lost.labels("retention").inc(jump.lost)

    async def _drain(self, assignment: Assignment) -> None:
        """Wait until the stages have finished what they work on, for as long as a rebalance allows."""
        self._delivery.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await first_of(assignment.drained(), self._delivery.wait_fenced())
        if len(assignment.in_flight):
            log.warning("drain_incomplete", in_flight=len(assignment.in_flight))

    async def _commit(self) -> None:
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
            starts = await self._offsets.start(partitions)
            processed_below = {one: start.processed_below for one, start in starts.items()}
            await assignment.sightings.restore(processed_below, await self._topics.partitions())
            # Kafka accepts it from members alone, so it proves that the group has not given the partitions to others.
            # And without a commit `start_at` would decide again at the next rebalance, and could skip frames.
            if starts:
                await self._consumer.commit({one: start.offset for one, start in starts.items()})
        except (KafkaUnavailableError, KafkaError) as error:
            delay_s = self._backoff.next_delay_s()
            log.warning("partitions_not_opened", error=str(error), delay_s=round(delay_s, 3))
            await asyncio.sleep(delay_s)
            return
        if assignment.state is not State.ASSIGNED:  # the group rebalances meanwhile
            await self._delivery.on_revoked()
            return
        for partition, start in starts.items():
            self._consumer.seek(partition, start.offset)
        assignment.state = State.OPEN
        self._backoff.reset()
        self._health.set_ready("kafka")
        log.info("partitions_assigned", partitions=_numbers(partitions))

    def _pause_and_resume(self, assignment: Assignment) -> None:
        full = assignment.in_flight.full(assignment.partitions)
        if full - assignment.paused:
            self._consumer.pause(*(full - assignment.paused))
        if assignment.paused - full:
            self._consumer.resume(*(assignment.paused - full))
        assignment.paused = full

    async def _fetch(self) -> None:
        """Fetch what Kafka has for us."""
        timeout_ms = _POLL_MS if self.assignment and not self.assignment.paused else _SHORT_POLL_MS
        try:
            fetched = await self._consumer.getmany(timeout_ms=timeout_ms)
        except NoOffsetForPartitionError:
            return  # not open yet
        except OffsetOutOfRangeError as error:
            if self.assignment:
                await self._move(self.assignment, error.args[0])
        else:
            if fetched and self.pulse.frozen_s():
                await self._check_membership()  # which may drop the assignment, and with it what was fetched
            self._accept(fetched)

    def _accept(self, fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
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
            self.fetched += len(records)
        self._delivery.reached(self.positions() or {})

    async def _move(self, assignment: Assignment, missing: Mapping[TopicPartition, int]) -> None:
        """Kafka does not have the next offsets: read on where it has frames, or open the partitions of a new topic."""
        positions = self.positions() or {}
        ours = {one: offset for one, offset in missing.items() if positions.get(one) == offset}
        with suppress(TimeoutError, KafkaError):  # the next fetch finds the same
            async with asyncio.timeout(_REQUEST_S):
                await self._topics.refresh()
                if self._topics.frames is None or self._offsets.recreated(self._topics.frames, ours):
                    return  # waits, or `_check_membership` opens them again
                for partition, offset in (await self._offsets.moved(ours)).items():
                    if assignment.state is State.OPEN:
                        self._consumer.seek(partition, offset)


def _numbers(partitions: Iterable[TopicPartition]) -> list[int]:
    return sorted(partition.partition for partition in partitions)
