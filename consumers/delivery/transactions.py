"""The transactions of one input partition: output and offset are committed together or not at all."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaError, ProducerFenced

from consumers.delivery.delivery import DeliveryContext
from consumers.stages.results import FrameResult
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import TRANSACTION_TIMEOUT_MS, new_producer, start_client, stop_client
from framematch.core.kafka.protocols import Producer
from framematch.core.kafka.records import ProducerRecord
from framematch.core.units import MS_PER_S, NS_PER_S

log = structlog.get_logger()

_MAX_RESULTS = 500  # in one transaction
# A consumer with a backlog waits longer for the next transaction, so that more frames share one: each costs as much CPU
# time as a third of a frame's decode. It adds at most this share to the time that a frame has taken already.
_WAIT_SHARE = 0.25
_MAX_INTERVALS = 10  # of `transaction_interval_ms`
_BACKOFF_S = (0.4, 5.0)
_STOP_TIMEOUT_S = 1.0
_FENCED = (ProducerFenced, InvalidProducerEpoch)


class PartitionClosedError(Exception):
    """The partition was given up: its transactional id belongs to the next owner and must not be claimed again."""


@dataclass(frozen=True)
class _PendingOutput:
    """A result that waits for its transaction, and its records."""

    result: FrameResult
    records: list[ProducerRecord]


class PartitionTransactions:
    """Delivers the results of one partition, in the order of its offsets.

    Guarantee: a transaction starts at the offset that was committed after this producer claimed the transactional id.
    So nothing is left out or repeated, even if another consumer also believes that it owns the partition.

    `fenced` is set while another producer owns the transactional id.
    """

    def __init__(self, partition: TopicPartition, context: DeliveryContext) -> None:
        self._partition = partition
        self._context = context
        self._group_id = context.settings.group_id
        self._id = f"{self._group_id}-{partition.topic}-{partition.partition}"
        self._producer: Producer | None = None
        self._closed = False
        self._pending: deque[_PendingOutput] = deque()
        self._output_added = asyncio.Event()
        self._finishing = asyncio.Event()
        self._started_s = 0.0  # when the last transaction started
        self._committed = 0  # the partition's committed offset, as far as is known
        self.fenced = asyncio.Event()

    async def claim(self) -> None:
        """Take the transactional id: an earlier producer is fenced and its open transaction aborted.

        Raises:
            KafkaUnavailableError: no broker answers, or it refuses.
            PartitionClosedError: the partition was given up.
        """
        if self._producer is not None:
            await stop_client(self._producer, timeout_s=_STOP_TIMEOUT_S)
        if self._closed:
            raise PartitionClosedError
        self._producer = new_producer(self._context.kafka, transactional_id=self._id)
        await start_client(self._producer, self._context.kafka, explain=False)

    def put(self, result: FrameResult) -> None:
        """Add the partition's next result."""
        self._pending.append(_PendingOutput(result, self._context.encoder.encode(result)))
        self._output_added.set()

    def finish(self) -> None:
        """Commit from now on without a pause."""
        self._finishing.set()

    async def run(self) -> None:
        """Commit transactions until cancelled or closed; the producer is closed at the end."""
        try:
            with suppress(PartitionClosedError):
                while True:
                    await self._commit(self._uncommitted(await self._next()))
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the partition up. The next claim aborts what is not committed, or the broker does after a while."""
        self._closed = True
        self._context.health.set_ready("output", source=self._partition)
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await stop_client(producer, timeout_s=_STOP_TIMEOUT_S)

    async def _next(self) -> list[_PendingOutput]:
        """The output since the last transaction, once the interval between two transactions has passed."""
        while not self._pending:
            self._output_added.clear()
            await self._output_added.wait()
        pause_s = self._started_s + self._interval_s() - time.monotonic()
        if pause_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._finishing.wait()
        self._started_s = time.monotonic()
        return [self._pending.popleft() for _ in range(min(_MAX_RESULTS, len(self._pending)))]

    def _interval_s(self) -> float:
        """From the start of the last transaction to that of the next one."""
        frame = self._pending[0].result.frame
        waited_s = (time.time_ns() - frame.fetched_ns) / NS_PER_S if frame else 0.0
        return interval_s(self._context.settings.transaction_interval_ms / MS_PER_S, waited_s)

    async def _commit(self, outputs: list[_PendingOutput]) -> None:
        """Commit all of it, retrying until it succeeds."""
        backoff = Backoff(*_BACKOFF_S)
        while outputs:
            try:
                await self._transact(outputs)
            # aiokafka refuses, or asserts, by its own state, which is wrong once its sender task has died of an error.
            except (KafkaError, TimeoutError, IllegalOperation, AssertionError) as error:
                await self._recover(error, backoff)
                outputs = self._uncommitted(outputs)
            else:
                self._context.metrics.commits.labels("done").inc()
                self._report_delivered(outputs)
                break
        self._context.health.set_ready("output", source=self._partition)

    async def _transact(self, outputs: list[_PendingOutput]) -> None:
        producer = self._producer
        if producer is None:
            raise PartitionClosedError
        async with asyncio.timeout(TRANSACTION_TIMEOUT_MS / MS_PER_S):
            await producer.begin_transaction()  # 1
            await self._send(producer, [record for output in outputs for record in output.records])  # 2
            if offsets := [output.result.offset for output in outputs if output.result.offset is not None]:
                committed = self._context.offset_store.with_topic_ids({self._partition: max(offsets) + 1})
                await producer.send_offsets_to_transaction(committed, self._group_id)  # 3
            await producer.commit_transaction()  # 4

    async def _send(self, producer: Producer, records: Iterable[ProducerRecord]) -> None:
        sent: list[asyncio.Future[object]] = []
        try:
            for record in records:
                partition = await self._context.partitions.choose(producer, record, self._partition.partition)
                sent.append(
                    await producer.send(
                        record.topic, record.value, key=record.key, headers=record.headers, partition=partition
                    )
                )
        except IllegalOperation:
            await asyncio.gather(*sent)  # raises why the transaction is over: most often another producer
            raise
        await asyncio.gather(*sent)

    async def _recover(self, error: Exception, backoff: Backoff) -> None:
        """Claim the partition again after a failed transaction, and read the committed offset.

        The failed transaction may have been committed all the same, or another owner may have continued.
        """
        while True:
            await self._pause(error, backoff)
            try:
                await self.claim()
                self._committed = await self._context.offset_store.committed(self._partition) or 0
            except (KafkaUnavailableError, KafkaError) as next_error:
                error = next_error
            else:
                self.fenced.clear()
                return

    async def _pause(self, error: Exception, backoff: Backoff) -> None:
        number = self._partition.partition
        if isinstance(error, _FENCED):
            # Another consumer owns the partition. If the group still assigns it to us after a session, it is ours.
            self.fenced.set()
            delay_s = self._context.settings.session_timeout_ms / MS_PER_S
            self._context.metrics.commits.labels("fenced").inc()
            log.warning("transaction_fenced", partition=number, delay_s=delay_s)
        else:
            delay_s = backoff.next_delay_s()
            reason = f"a transaction failed: {type(error).__name__}"
            self._context.health.set_not_ready("output", reason, source=self._partition)
            self._context.metrics.commits.labels("failed").inc()
            if not getattr(error, "unreachable", False):  # else every partition would say what the consumer has said
                log.warning("transaction_failed", partition=number, error=repr(error)[:300], delay_s=round(delay_s, 3))
        await asyncio.sleep(delay_s)

    def _uncommitted(self, outputs: list[_PendingOutput]) -> list[_PendingOutput]:
        """The outputs at or above the committed offset; those below it are reported as delivered.

        Output without an offset of its own was committed with the last frame of its transaction.
        """
        committed = self._committed
        last = max((o.result.offset for o in outputs if o.result.offset is not None), default=committed)
        offsets = [last if output.result.offset is None else output.result.offset for output in outputs]
        pairs = list(zip(outputs, offsets, strict=True))
        self._report_delivered(output for output, offset in pairs if offset < committed)
        return [output for output, offset in pairs if offset >= committed]

    def _report_delivered(self, outputs: Iterable[_PendingOutput]) -> None:
        for output in outputs:
            self._context.on_delivered(output.result)


def interval_s(shortest_s: float, waited_s: float) -> float:
    """The time between the starts of two transactions, when the oldest frame was fetched `waited_s` ago."""
    return min(max(shortest_s, _WAIT_SHARE * waited_s), _MAX_INTERVALS * shortest_s)
