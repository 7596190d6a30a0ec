"""Fetches frames of our partitions within bounds, and hands the partitions over when the group rebalances."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Literal

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.delivery.delivery import Delivery
from consumers.in_flight import InFlight
from consumers.metrics import ConsumerMetrics
from consumers.watch.ends import Ends
from consumers.work import Work
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import Health
from framematch.core.kafka.clients import kafka_errors
from framematch.core.lifecycle import first_of
from framematch.core.settings import ConsumerSettings, KafkaSettings

log = structlog.get_logger()

REBALANCE_TIMEOUT_MS = 60_000
"""How long the group waits for a member to finish what it has and join again."""

_HAND_OVER_S = 20.0  # for what is in flight, well inside the above
_COMMIT_S = 10.0
_POLL_MS = 200  # how soon an idle consumer sees that it should stop
_POSITION_S = 1.0
_FULL_POLL_MS = 20  # how soon one that is full sees that it has room
_BACKOFF_S = (0.5, 5.0)

Positions = Mapping[TopicPartition, int | None]
"""The committed offset of each partition; None where there is none yet."""


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Owns the membership in the consumer group.

    A partition that holds its share of the frames in flight is paused, so one with a backlog leaves the others
    room. Kafka is asked all the same, so that a consumer that waits for Triton stays in the group.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        *,
        topic: str,
        kafka: KafkaSettings,
        settings: ConsumerSettings,
        in_flight: InFlight,
        delivery: Delivery,
        on_assigned: Callable[[Positions], Awaitable[None]],
        on_fetched: Callable[[], None],
        on_revoked: Callable[[], None],
        metrics: ConsumerMetrics,
        health: Health,
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._kafka = kafka
        self._lane_is_camera = settings.delivery == "at_least_once"
        self._in_flight = in_flight
        self._delivery = delivery
        self._on_assigned = on_assigned
        self._on_fetched = on_fetched
        self._on_revoked = on_revoked
        self._metrics = metrics
        self._health = health
        self._open: frozenset[TopicPartition] = frozenset()
        self._paused: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        self._state: Literal["rebalancing", "assigned", "open"] = "rebalancing"
        self._backoff = Backoff(*_BACKOFF_S)
        self._ends = Ends(consumer, metrics)
        self.epoch = 0
        """Rises with each assignment: what was fetched under an earlier one is not ours any more."""
        self.fetched = 0
        """Frames fetched since the start."""

    async def run(self, stop: asyncio.Event) -> None:
        """Fetch until `stop` is set; then what some stage works on is finished and committed.

        Raises:
            KafkaUnavailableError: Kafka refuses us, or gives what cannot be read. While it is away this waits.
        """
        self._consumer.subscribe([self._topic], listener=self)
        with kafka_errors(self._kafka):
            while not stop.is_set():
                if self._state == "assigned":
                    await self._begin()
                self._pause_and_resume()
                timeout_ms = _FULL_POLL_MS if self._paused else _POLL_MS
                self._take(await self._fetch(timeout_ms))
        self._in_flight.drop_waiting()
        await self._in_flight.idle()
        await self._delivery.commit()

    async def positions(self) -> dict[TopicPartition, int] | None:
        """Where each of our partitions is read next; None while the group rebalances."""
        if self._state != "open":
            return None
        found = dict.fromkeys(self._open, 0)
        for partition in self._open:
            with suppress(TimeoutError, KafkaError):  # it has none yet, or is not ours any more
                async with asyncio.timeout(_POSITION_S):
                    found[partition] = await self._consumer.position(partition)
        return found

    async def measure(self) -> None:
        """Ask Kafka how far our partitions reach; while it does not answer we are not ready."""
        await self._ends.ask(self._open)
        if self._state == "open" and self._ends.kafka_is_away:
            self._health.set_not_ready("kafka", "Kafka does not answer")
        elif self._state == "open":
            self._health.set_ready("kafka")

    def lag(self) -> dict[TopicPartition, int]:
        """Frames not yet fetched when that was last measured, of each partition of which it is known."""
        known = self._open & self._positions.keys() & self._ends.known.keys()
        return {partition: max(0, self._ends.known[partition] - self._positions[partition]) for partition in known}

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Errors that happen here would be hidden by aiokafka, so `run` does the work."""
        del assigned
        self._state = "assigned"

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish and commit what is in flight, so that the next owner repeats as little as possible."""
        self._health.set_not_ready("kafka", "the group rebalances")
        self._open = frozenset()
        self._state = "rebalancing"
        numbers = sorted(partition.partition for partition in revoked)
        if numbers:
            self._metrics.rebalances.inc()
            log.info("partitions_revoked", partitions=numbers, in_flight=self._in_flight.taken)
            await self._finish()
        self.epoch += 1
        self._in_flight.clear()
        self._on_revoked()
        self._positions.clear()
        self._paused.clear()
        self._metrics.lag.clear()  # the next owner reports it
        await self._delivery.on_revoked()

    async def _finish(self) -> None:
        self._in_flight.drop_waiting()
        with suppress(TimeoutError):
            async with asyncio.timeout(_HAND_OVER_S):
                await first_of(self._in_flight.idle(), self._delivery.wait_fenced())
        if len(self._in_flight):
            log.warning("drain_incomplete", in_flight=len(self._in_flight))
        try:
            async with asyncio.timeout(_COMMIT_S):
                await self._delivery.commit()
        except TimeoutError:
            log.warning("commit_failed", error="no answer in time")

    async def _begin(self) -> None:
        """Start the assigned partitions from their committed offsets, read after the delivery has claimed them."""
        partitions, epoch = frozenset(self._consumer.assignment()), self.epoch
        try:
            await self._delivery.on_assigned(partitions)
            positions = await self._committed(partitions)
            await self._on_assigned(positions)
        except (KafkaUnavailableError, KafkaError) as error:
            delay_s = self._backoff.next_delay_s()
            log.warning("partitions_not_opened", error=str(error), delay_s=round(delay_s, 3))
            await asyncio.sleep(delay_s)
            return
        if epoch != self.epoch or self._state != "assigned":  # the group has rebalanced meanwhile, or begins to
            await self._delivery.on_revoked()
            return
        for partition, offset in positions.items():
            if offset is not None:
                self._consumer.seek(partition, offset)
                self._positions[partition] = offset
        self._state = "open"
        self._open = partitions
        self._backoff.reset()
        self._health.set_ready("kafka")
        log.info("partitions_assigned", partitions=sorted(partition.partition for partition in partitions))

    async def _committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
        wanted = sorted(partitions)
        found = await asyncio.gather(*(self._consumer.committed(partition) for partition in wanted))
        return dict(zip(wanted, found, strict=True))

    def _pause_and_resume(self) -> None:
        full = self._in_flight.full(self._open)
        if full - self._paused:
            self._consumer.pause(*(full - self._paused))
        if self._paused - full:
            self._consumer.resume(*(self._paused - full))
        self._paused = full

    async def _fetch(self, timeout_ms: int) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        """What Kafka has for us.

        Raises:
            KafkaUnavailableError: the client cannot read a record, and so none behind it.
        """
        try:
            found: Mapping[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=timeout_ms)
        except UnicodeDecodeError as error:
            raise KafkaUnavailableError(
                f"a record in {self._topic} has a header whose name is no UTF-8 ({error})",
                hint="Move the group past it: kafka-consumer-groups.sh --reset-offsets --shift-by 1, for its partition",
            ) from error
        for partition, records in found.items():
            if records[0].offset < self._positions.get(partition, 0):
                raise KafkaUnavailableError(
                    f"partition {partition.partition} of {self._topic} went back to offset {records[0].offset}: "
                    "the topic was made anew",
                    hint="Start it again: it goes on at the first record of the new topic",
                )
        return found

    def _take(self, found: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        fetched_ns = time.time_ns()
        for partition, records in found.items():
            if partition not in self._open:  # `_begin` comes yet, or it was revoked while it was being fetched
                if partition in self._consumer.assignment():
                    self._consumer.seek(partition, records[0].offset)
                continue
            for record in records:
                lane = (partition, record.key) if self._lane_is_camera else partition
                work = Work(record, lane, self.epoch, fetched_ns)
                self._delivery.fetched(work)
                self._in_flight.add(work)
            self._positions[partition] = records[-1].offset + 1
            self.fetched += len(records)
        if found:
            self._on_fetched()
