"""At least once: offsets are committed after the output is acknowledged; after a crash, output may come again."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, KafkaError, UnknownMemberIdError

from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.offsets import OffsetTracker
from consumers.delivery.outputs import Output
from consumers.in_flight_frame import InFlightFrame
from consumers.stages.results import FrameResult
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import kafka_errors, new_producer, start_client, stop_client, unavailable

log = structlog.get_logger()

_BACKOFF_S = (0.4, 5.0)
_STOP_TIMEOUT_S = 1.0


@dataclass(eq=False)
class _Sent:
    """Answers in the order of `deliver`, their records, and what the producer says of each."""

    answers: Sequence[FrameResult]
    records: list[Output]
    acknowledgements: list[asyncio.Future[object]]


class AtLeastOnce:
    """See `Delivery`. One producer for all partitions; a frame that is handled twice gives events with equal ids.

    A record that Kafka refuses leaves an idempotent producer of no use. Then a new one sends everything again that was
    not acknowledged, in order, for as long as it takes.
    """

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._producer = new_producer(context.kafka)
        self._started = asyncio.Event()
        self._offsets: OffsetTracker[TopicPartition] = OffsetTracker()
        self._unacknowledged: deque[_Sent] = deque()
        self._news = asyncio.Event()
        self._sending = asyncio.Lock()
        self._refusal: KafkaError | None = None  # of a record that the producer did not take
        self._closed = 0  # so often: what was handed over before belongs to others

    async def run(self) -> None:
        """See `Delivery`."""
        try:
            await start_client(self._producer, self._context.kafka)
            self._context.health.set_ready("output")
            self._started.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._acknowledge())
                group.create_task(self._commit_forever())
        finally:
            await stop_client(self._producer)

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Delivery`."""
        await self._started.wait()
        self._offsets.forget(partitions)

    def fetched(self, frame: InFlightFrame) -> None:
        """See `Delivery`."""
        self._offsets.start(frame.partition, frame.record.offset)

    async def deliver(self, answers: Sequence[FrameResult]) -> None:
        """See `Delivery`. Waits while another producer sends again what the last one could not."""
        records = [record for answer in answers for record in self._context.outputs.of(answer)]
        closed = self._closed
        async with self._sending:
            if closed != self._closed:
                return
            sent = _Sent(answers, records, await self._send(records))
            if closed != self._closed:  # given back while the producer was busy
                _forget(sent.acknowledgements)
                return
            self._unacknowledged.append(sent)
        self._news.set()

    async def commit(self) -> None:
        """See `Delivery`. After a rebalance the broker refuses: the new owner does those frames again."""
        offsets = self._offsets.committable()
        if not offsets:
            return
        try:
            await self._context.consumer.commit(offsets)
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
        """See `Delivery`. Nobody is kept from publishing."""
        await asyncio.Event().wait()

    async def on_revoked(self) -> None:
        """See `Delivery`. What the producer has already taken still goes out: its new owner repeats it."""
        self._closed += 1
        for sent in self._unacknowledged:
            _forget(sent.acknowledgements)
        self._unacknowledged.clear()
        self._offsets = OffsetTracker()

    async def _send(self, records: Sequence[Output]) -> list[asyncio.Future[object]]:
        """Hand records to the producer; what it does not even take counts as refused, and so does all behind it.

        A later record could overtake that one, as the producer goes on.
        """
        taken: list[asyncio.Future[object]] = []
        try:
            for record in records:
                if self._refusal is not None:
                    raise self._refusal  # as if the producer did
                future = await self._producer.send(record.topic, record.value, key=record.key, headers=record.headers)
                taken.append(future)
        except KafkaError as error:
            self._refusal = error
            refused: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            taken.append(refused)
        return taken

    async def _acknowledge(self) -> None:
        while True:
            if not self._unacknowledged:
                self._news.clear()
                await self._news.wait()
                continue
            oldest = self._unacknowledged[0]
            try:
                await asyncio.gather(*oldest.acknowledgements)
            except KafkaError as error:
                await self._send_again(error)
                continue
            if self._unacknowledged and self._unacknowledged[0] is oldest:  # else they were given back meanwhile
                self._unacknowledged.popleft()
                self._finish(oldest.answers)

    def _finish(self, answers: Sequence[FrameResult]) -> None:
        for answer in answers:
            if answer.offset is not None:
                self._offsets.finish(answer.partition, answer.offset)
            self._context.on_delivered(answer)

    async def _send_again(self, error: KafkaError) -> None:
        """Replace the producer, and send again, in order, everything that was not acknowledged."""
        why = unavailable(self._context.kafka, error)
        backoff = Backoff(*_BACKOFF_S)
        async with self._sending:
            self._context.health.set_not_ready("output", why.message)
            while True:
                delay_s = backoff.next_delay_s()
                self._context.metrics.output_retries.inc()
                log.warning("output_refused", error=str(why), delay_s=round(delay_s, 3))
                await asyncio.sleep(delay_s)
                try:
                    await self._renew_producer()
                    await self._send_all_now()
                except KafkaUnavailableError as again:
                    why = again
                else:
                    self._context.health.set_ready("output")
                    return

    async def _renew_producer(self) -> None:
        await stop_client(self._producer, timeout_s=_STOP_TIMEOUT_S)
        self._producer = new_producer(self._context.kafka)
        self._refusal = None
        await start_client(self._producer, self._context.kafka)

    async def _send_all_now(self) -> None:
        """Send everything, and wait for the oldest of it.

        Raises:
            KafkaUnavailableError: that is refused again.
        """
        waiting = list(self._unacknowledged)
        for sent in waiting:
            _forget(sent.acknowledgements)
            sent.acknowledgements = await self._send(sent.records)
        with kafka_errors(self._context.kafka):
            await asyncio.gather(*(future for sent in waiting[:1] for future in sent.acknowledgements))

    async def _commit_forever(self) -> None:
        while True:
            await asyncio.sleep(self._context.settings.commit_interval_s)
            await self.commit()


def _forget(acknowledgements: Iterable[asyncio.Future[object]]) -> None:
    """Nobody asks for these any more: an error in one is not worth a log line of asyncio's."""
    for future in acknowledgements:
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
