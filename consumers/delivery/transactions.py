"""The transactions of one input partition: its output and its offset, all of it or nothing."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaError, ProducerFenced

from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.outputs import Output
from consumers.stages.results import FrameResult
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import TRANSACTION_TIMEOUT_MS, new_producer, start_client, stop_client

log = structlog.get_logger()

_MOST_FRAMES = 500  # in one transaction
_BACKOFF_S = (0.4, 5.0)
_STOP_TIMEOUT_S = 1.0
_FENCED = (ProducerFenced, InvalidProducerEpoch)


@dataclass(frozen=True)
class _Due:
    """An answer that waits for its transaction, and its records."""

    answer: FrameResult
    records: list[Output]


class PartitionTransactions:
    """Delivers the answers of one partition, in the order of its offsets.

    Guarantee: a transaction begins at the committed offset as it was after this producer took the transactional id
    over, so nothing is left out and nothing is done twice, whoever else believes that the partition is his.

    `fenced` is set while another producer has the transactional id.
    """

    def __init__(self, partition: TopicPartition, context: DeliveryContext) -> None:
        self._partition = partition
        self._context = context
        self._group_id = context.settings.group_id
        self._id = f"{self._group_id}-{partition.topic}-{partition.partition}"
        self._producer: AIOKafkaProducer | None = None
        self._waiting: deque[_Due] = deque()
        self._news = asyncio.Event()
        self._began_s = 0.0
        self._committed = 0  # below it everything is, as far as is known
        self.fenced = asyncio.Event()

    async def claim(self) -> None:
        """Take the transactional id over: what an earlier producer has not committed is undone, and it is fenced.

        Raises:
            KafkaUnavailableError: no broker answers, or it does not allow it.
        """
        if self._producer is not None:
            await stop_client(self._producer, timeout_s=_STOP_TIMEOUT_S)
        self._producer = new_producer(self._context.kafka, transactional_id=self._id)
        await start_client(self._producer, self._context.kafka)

    def put(self, answer: FrameResult) -> None:
        """Take over the next answer of the partition."""
        self._waiting.append(_Due(answer, self._context.outputs.of(answer)))
        self._news.set()

    async def run(self) -> None:
        """Commit transactions until cancelled; the producer is closed in the end."""
        try:
            while True:
                await self._commit(self._left(await self._next()))
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the producer: what it has not committed is undone by the next claim, or by the broker in time."""
        if self._producer is not None:
            closing, self._producer = self._producer, None
            await stop_client(closing, timeout_s=_STOP_TIMEOUT_S)

    async def _next(self) -> list[_Due]:
        """What has come since the last transaction began; no sooner than the interval between two allows."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        pause_s = self._began_s + self._context.settings.transaction_interval_ms / 1_000 - time.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        self._began_s = time.monotonic()
        return [self._waiting.popleft() for _ in range(min(_MOST_FRAMES, len(self._waiting)))]

    async def _commit(self, due: list[_Due]) -> None:
        """Commit all of it, for as long as it takes."""
        backoff = Backoff(*_BACKOFF_S)
        while due:
            try:
                await self._transact(due)
            # The client refuses or asserts by its own state, which is wrong once its sending task has died of an error.
            except (KafkaError, TimeoutError, IllegalOperation, AssertionError) as error:
                await self._recover(error, backoff)
                due = self._left(due)
            else:
                self._context.health.set_ready("output")
                self._context.metrics.commits.labels("done").inc()
                self._delivered(due)
                return

    async def _transact(self, due: list[_Due]) -> None:
        producer = self._producer
        if producer is None:
            raise AssertionError("closed while it is being used")
        async with asyncio.timeout(TRANSACTION_TIMEOUT_MS / 1_000):
            await producer.begin_transaction()  # 1
            records = [record for one in due for record in one.records]
            await self._send(producer, records)  # 2
            if offsets := [one.answer.offset for one in due if one.answer.offset is not None]:
                await producer.send_offsets_to_transaction({self._partition: max(offsets) + 1}, self._group_id)  # 3
            await producer.commit_transaction()  # 4

    async def _send(self, producer: AIOKafkaProducer, records: Iterable[Output]) -> None:
        sent: list[asyncio.Future[object]] = []
        try:
            for record in records:
                sent.append(  # noqa: PERF401  # what was sent before an error is asked for below
                    await producer.send(record.topic, record.value, key=record.key, headers=record.headers)
                )
        except IllegalOperation:
            await asyncio.gather(*sent)  # raises why the transaction is over: most often another producer
            raise
        await asyncio.gather(*sent)

    async def _recover(self, error: Exception, backoff: Backoff) -> None:
        """Claim the partition again after a failed transaction, and see which offset is committed by then.

        A transaction that failed may have been committed all the same, or another owner has gone on from there.
        """
        while True:
            await self._pause(error, backoff)
            try:
                await self.claim()
                self._committed = await self._context.consumer.committed(self._partition) or 0
            except (KafkaUnavailableError, KafkaError) as again:
                error = again
            else:
                self.fenced.clear()
                return

    async def _pause(self, error: Exception, backoff: Backoff) -> None:
        number = self._partition.partition
        if isinstance(error, _FENCED):
            # Another consumer has the partition. If the group still says otherwise after a session, it is ours again.
            self.fenced.set()
            delay_s = self._context.settings.session_timeout_ms / 1_000
            self._context.metrics.commits.labels("fenced").inc()
            log.warning("transaction_fenced", partition=number, delay_s=delay_s)
        else:
            delay_s = backoff.next_delay_s()
            self._context.health.set_not_ready("output", f"a transaction failed: {type(error).__name__}")
            self._context.metrics.commits.labels("failed").inc()
            log.warning("transaction_failed", partition=number, error=repr(error)[:300], delay_s=round(delay_s, 3))
        await asyncio.sleep(delay_s)

    def _left(self, due: list[_Due]) -> list[_Due]:
        """Report what was committed all the same, or by another owner; the rest is left.

        What has no offset of its own went with the last frame of its transaction.
        """
        committed = self._committed
        last = max((one.answer.offset for one in due if one.answer.offset is not None), default=committed)
        offsets = [last if one.answer.offset is None else one.answer.offset for one in due]
        self._delivered(one for one, offset in zip(due, offsets, strict=True) if offset < committed)
        return [one for one, offset in zip(due, offsets, strict=True) if offset >= committed]

    def _delivered(self, due: Iterable[_Due]) -> None:
        for one in due:
            self._context.on_delivered(one.answer)
