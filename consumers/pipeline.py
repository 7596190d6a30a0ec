"""The way of a frame through a consumer, in order: fetch, answer, publish, acknowledge, commit.

Several batches are answered at once; they are published in the order in which they were fetched, so the order of a
camera's frames is kept. Nothing is committed before its output is acknowledged.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, KafkaError, UnknownMemberIdError

from consumers.answers import Answer, Answerer
from consumers.batches import BatchFetcher
from consumers.deadletter import dead_letter
from consumers.metrics import ConsumerMetrics
from consumers.offsets import OffsetTracker
from framematch.core.errors import TritonUnavailableError
from framematch.core.events import encode, match_headers
from framematch.core.health import Health
from framematch.core.kafka import HEADROOM_BYTES, kafka_errors
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.core.topics import Topics

log = structlog.get_logger()

_RETRY_FIRST_S = 0.2
_RETRY_LONGEST_S = 5.0
_DRAIN_DEADLINE_S = 20.0  # well inside Kafka's default of 5 minutes for a rebalance


@dataclass(frozen=True)
class _Sent:
    """A batch whose output is with the producer; `acknowledgements` are its futures."""

    answers: list[Answer]
    acknowledgements: list[asyncio.Future[object]]


class Pipeline(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Runs the stages for one member of the consumer group."""

    def __init__(
        self,
        *,
        consumer: AIOKafkaConsumer,
        producer: AIOKafkaProducer,
        answerer: Answerer,
        kafka: KafkaSettings,
        settings: ConsumerSettings,
        metrics: ConsumerMetrics,
        health: Health,
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._answerer = answerer
        self._kafka = kafka
        self._topics = Topics(kafka.topic_prefix)
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._offsets: OffsetTracker[TopicPartition] = OffsetTracker()
        self._fetched: dict[TopicPartition, int] = {}
        self._fetcher = BatchFetcher(consumer, batch_size=settings.batch_size, window_ms=settings.batch_window_ms)
        self._slots = asyncio.Semaphore(settings.batches_in_flight)
        self._idle = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was fetched and commit it.

        Raises:
            KafkaUnavailableError: output was not acknowledged in time; nothing of it is committed.
            ModelError: Triton gives embeddings that cannot be used.
        """
        answering: asyncio.Queue[asyncio.Task[list[Answer]] | None] = asyncio.Queue()
        sent: asyncio.Queue[_Sent | None] = asyncio.Queue(self._settings.batches_in_flight)
        self._consumer.subscribe([self._topics.frames], listener=self)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish(answering, sent))
            group.create_task(self._acknowledge(sent))
            committing = group.create_task(self._commit_forever())
            with kafka_errors(self._kafka):
                async for batch in self._fetcher.batches(stop):
                    self._start(batch)
                    await self._slots.acquire()
                    answering.put_nowait(group.create_task(self._answer(batch)))
            answering.put_nowait(None)
            await self._drained()
            committing.cancel()
        await self._commit()

    def _start(self, batch: list[ConsumerRecord]) -> None:
        for record in batch:
            partition = TopicPartition(record.topic, record.partition)
            self._offsets.start(partition, record.offset)
            self._fetched[partition] = record.offset + 1
        self._idle.clear()
        self._metrics.batch_frames.observe(len(batch))
        self._metrics.in_flight.set(self._offsets.in_flight())

    async def _answer(self, batch: list[ConsumerRecord]) -> list[Answer]:
        """Answer a batch, however long Triton is away: meanwhile the slots fill and fetching stops."""
        delay_s = _RETRY_FIRST_S
        while True:
            try:
                answers = await self._answerer.answer(batch)
            except TritonUnavailableError as error:
                self._health.set_not_ready("triton", error.message)
                self._metrics.inference_retries.inc()
                log.warning("inference_retried", error=str(error), delay_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RETRY_LONGEST_S)
            else:
                self._health.set_ready("triton")
                return answers

    async def _publish(
        self, answering: asyncio.Queue[asyncio.Task[list[Answer]] | None], sent: asyncio.Queue[_Sent | None]
    ) -> None:
        while (task := await answering.get()) is not None:
            answers = await task
            self._slots.release()
            with kafka_errors(self._kafka):
                acknowledgements = [future for answer in answers for future in await self._send(answer)]
            await sent.put(_Sent(answers, acknowledgements))
        await sent.put(None)

    async def _send(self, answer: Answer) -> list[asyncio.Future[object]]:
        record = answer.record
        if answer.bad is not None:
            log.warning(
                "frame_deadlettered", reason=answer.bad.reason, error=answer.bad.message,
                partition=record.partition, offset=record.offset,
            )  # fmt: skip
            letter = dead_letter(record, "decode", answer.bad, max_bytes=self._kafka.max_message_bytes + HEADROOM_BYTES)
            topic = self._topics.deadletter
            return [await self._producer.send(topic, letter.value, key=record.key, headers=letter.headers)]
        now = to_rfc3339(now_us())
        trace = answer.frame.traceparent if answer.frame else None
        return [
            await self._producer.send(
                self._topics.matches, encode(event), key=record.key, headers=match_headers(event, now, trace)
            )
            for event in answer.events
        ]

    async def _acknowledge(self, sent: asyncio.Queue[_Sent | None]) -> None:
        while (batch := await sent.get()) is not None:
            with kafka_errors(self._kafka):
                await asyncio.gather(*batch.acknowledgements)
            for answer in batch.answers:
                record = answer.record
                self._offsets.finish(TopicPartition(record.topic, record.partition), record.offset)
                self._count(answer)
            self._metrics.in_flight.set(self._offsets.in_flight())
            if not self._offsets.in_flight():
                self._idle.set()

    def _count(self, answer: Answer) -> None:
        if answer.bad is not None:
            self._metrics.frames.labels("deadletter", answer.bad.reason).inc()
        elif answer.skipped is not None:
            self._metrics.frames.labels("skipped", answer.skipped).inc()
        else:
            self._metrics.frames.labels("answered", "").inc()
        if answer.events and answer.frame:
            self._metrics.age_seconds.observe((now_us() - answer.frame.came_at_us) / 1_000_000)

    async def _commit_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_s)
            await self._commit()
            self._measure_lag()

    def _measure_lag(self) -> None:
        for partition in self._consumer.assignment():
            newest, fetched = self._consumer.highwater(partition), self._fetched.get(partition)
            if newest is not None and fetched is not None:
                self._metrics.lag.labels(str(partition.partition)).set(newest - fetched)

    async def _commit(self) -> None:
        """Commit what is acknowledged. After a rebalance the broker refuses: the new owner does those records again."""
        offsets = self._offsets.committable()
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalGenerationError, UnknownMemberIdError) as error:
            log.info("commit_refused", error=str(error))
        except KafkaError as error:
            log.warning("commit_failed", error=str(error))
        else:
            self._offsets.committed(offsets)

    async def _drained(self) -> None:
        if self._offsets.in_flight():
            await self._idle.wait()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish and commit what is in flight, so that the next owner repeats as little as possible."""
        self._health.set_not_ready("kafka", "the group rebalances")
        self._fetcher.discard()
        try:
            await asyncio.wait_for(self._drained(), _DRAIN_DEADLINE_S)
        except TimeoutError:
            log.warning("drain_incomplete", in_flight=self._offsets.in_flight())
        await self._commit()
        self._offsets.forget(revoked)
        self._fetched.clear()
        self._metrics.lag.clear()  # the next owner reports it

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start the partitions from their committed offsets."""
        partitions = sorted(partition.partition for partition in assigned)
        self._health.set_ready("kafka")
        log.info("partitions_assigned", partitions=partitions)
