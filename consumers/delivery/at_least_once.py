"""At least once: offsets are committed after the output is acknowledged; a crash may repeat output."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, KafkaError, UnknownMemberIdError

from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.offsets import OffsetTracker
from consumers.in_flight_frame import InFlightFrame
from consumers.stages.results import FrameResult
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import kafka_errors, new_producer, start_client, stop_client, unavailable
from framematch.core.kafka.protocols import Producer
from framematch.core.kafka.records import ProducerRecord

log = structlog.get_logger()

_BACKOFF_S = (0.4, 5.0)
_STOP_TIMEOUT_S = 1.0


Records = Sequence[tuple[ProducerRecord, int]]
"""Each with the number of its frame's partition."""


@dataclass(eq=False)
class _SentBatch:
    """The results of one `deliver`, their records, and the broker's acknowledgement of each record."""

    results: Sequence[FrameResult]
    records: Records
    acknowledgements: list[asyncio.Future[object]]


class AtLeastOnce:
    """A `Delivery` with one producer for all partitions. Events of a frame that is repeated have equal ids.

    An idempotent producer is of no use after a record that Kafka refused. It is replaced, and the new one sends
    everything that was not acknowledged, in order, until it succeeds.
    """

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._producer: Producer = new_producer(context.kafka)
        self._started = asyncio.Event()
        self._offsets = OffsetTracker()
        self._unacknowledged: deque[_SentBatch] = deque()
        self._batch_added = asyncio.Event()
        self._sending = asyncio.Lock()
        self._rejection: KafkaError | None = None  # why the producer did not accept a record
        self._generation = 0  # rises when partitions are revoked: earlier results belong to another consumer

    async def run(self) -> None:
        """Implements `Delivery.run`."""
        try:
            await start_client(self._producer, self._context.kafka)
            self._context.health.set_ready("output")
            self._started.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._process_acknowledgements())
                group.create_task(self._commit_periodically())
        finally:
            await stop_client(self._producer)

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Implements `Delivery.on_assigned`."""
        await self._started.wait()
        self._offsets.forget(partitions)

    def fetched(self, frame: InFlightFrame) -> None:
        """Implements `Delivery.fetched`."""
        self._offsets.start(frame.partition, frame.record.offset)

    def reached(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Implements `Delivery.reached`: a group that is idle has no lag, also by other tools."""
        for partition, offset in offsets.items():
            self._offsets.reach(partition, offset)

    async def deliver(self, results: Sequence[FrameResult]) -> None:
        """Implements `Delivery.deliver`. Waits while a new producer resends."""
        encoder = self._context.encoder
        records = [(record, result.partition.partition) for result in results for record in encoder.encode(result)]
        generation = self._generation
        async with self._sending:
            if generation != self._generation:
                return
            batch = _SentBatch(results, records, await self._send(records))
            if generation != self._generation:  # revoked while the producer's buffer was full
                _ignore_errors(batch.acknowledgements)
                return
            self._unacknowledged.append(batch)
        self._batch_added.set()

    def finish(self) -> None:
        """Nothing to do: output never waits."""

    async def commit(self) -> None:
        """Implements `Delivery.commit`. After a rebalance the broker refuses: the new owner repeats those frames."""
        offsets = self._offsets.committable()
        if not offsets:
            return
        try:
            await self._context.offset_store.commit(offsets)
        except (CommitFailedError, IllegalGenerationError, UnknownMemberIdError) as error:
            self._context.metrics.commits.labels("refused").inc()
            log.info("commit_refused", error=str(error))
        except KafkaError as error:
            self._context.metrics.commits.labels("failed").inc()
            log.warning("commit_failed", error=str(error))
        else:
            self._context.metrics.commits.labels("done").inc()
            self._offsets.committed(offsets)

    async def wait_fenced(self) -> None:
        """Never returns: without transactions nothing fences a consumer."""
        await asyncio.Event().wait()

    async def on_revoked(self) -> None:
        """Implements `Delivery.on_revoked`. What the producer has buffered is still sent: the new owner repeats it."""
        self._generation += 1
        for batch in self._unacknowledged:
            _ignore_errors(batch.acknowledgements)
        self._unacknowledged.clear()
        self._offsets = OffsetTracker()

    async def _send(self, records: Records) -> list[asyncio.Future[object]]:
        """Pass records to the producer; returns an acknowledgement for each up to the first that it does not accept.

        After that one no record is sent until the producer is replaced, so that none overtakes it.
        """
        acknowledgements: list[asyncio.Future[object]] = []
        try:
            for record, frame_partition in records:
                if self._rejection is not None:
                    raise self._rejection
                partition = await self._context.partitions.choose(self._producer, record, frame_partition)
                acknowledgements.append(
                    await self._producer.send(
                        record.topic, record.value, key=record.key, headers=record.headers, partition=partition
                    )
                )
        except KafkaError as error:
            self._rejection = error
            failed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            acknowledgements.append(failed)
        return acknowledgements

    async def _process_acknowledgements(self) -> None:
        while True:
            if not self._unacknowledged:
                self._batch_added.clear()
                await self._batch_added.wait()
                continue
            oldest = self._unacknowledged[0]
            try:
                for acknowledgement in oldest.acknowledgements:  # most are there: `gather` has a callback for each
                    await acknowledgement
            except KafkaError as error:
                _ignore_errors(oldest.acknowledgements)
                await self._resend(error)
                continue
            if self._unacknowledged and self._unacknowledged[0] is oldest:  # else it was revoked meanwhile
                self._unacknowledged.popleft()
                self._finish(oldest.results)

    def _finish(self, results: Sequence[FrameResult]) -> None:
        for result in results:
            if result.offset is not None:
                self._offsets.finish(result.partition, result.offset)
            self._context.on_delivered(result)

    async def _resend(self, error: KafkaError) -> None:
        """Replace the producer and send everything that was not acknowledged, in order, until it succeeds."""
        problem = unavailable(self._context.kafka, error)
        backoff = Backoff(*_BACKOFF_S)
        async with self._sending:
            self._context.health.set_not_ready("output", problem.message)
            while True:
                delay_s = backoff.next_delay_s()
                self._context.metrics.output_retries.inc()
                log.warning("output_refused", error=str(problem), delay_s=round(delay_s, 3))
                await asyncio.sleep(delay_s)
                try:
                    await self._replace_producer()
                    await self._send_unacknowledged()
                except KafkaUnavailableError as next_problem:
                    problem = next_problem
                else:
                    self._context.health.set_ready("output")
                    return

    async def _replace_producer(self) -> None:
        await stop_client(self._producer, timeout_s=_STOP_TIMEOUT_S)
        self._producer = new_producer(self._context.kafka)
        self._rejection = None
        await start_client(self._producer, self._context.kafka, explain=False)

    async def _send_unacknowledged(self) -> None:
        """Send everything that was not acknowledged; KafkaUnavailableError when the oldest batch is refused again."""
        batches = list(self._unacknowledged)
        for batch in batches:
            _ignore_errors(batch.acknowledgements)
            batch.acknowledgements = await self._send(batch.records)
        with kafka_errors(self._context.kafka):
            await asyncio.gather(*(future for batch in batches[:1] for future in batch.acknowledgements))

    async def _commit_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._context.settings.commit_interval_s)
            await self.commit()


def _ignore_errors(futures: Iterable[asyncio.Future[object]]) -> None:
    """Retrieve the errors of these futures, else asyncio logs each as never retrieved."""
    for future in futures:
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
