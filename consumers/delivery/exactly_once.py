"""Exactly once: output and offset of a partition go in one Kafka transaction, fenced by the partition's own id."""

import asyncio
from collections.abc import Iterable, Sequence

from aiokafka import TopicPartition

from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.transactions import PartitionTransactions
from consumers.in_flight_frame import InFlightFrame
from consumers.stages.results import FrameResult
from framematch.core.lifecycle import first_of


class ExactlyOnce:
    """See `Delivery`. Subscribers that read committed records alone see each event once.

    The client's transactions know nothing of the consumer group, so a zombie is kept from committing by a transactional
    id for each input partition: who claimed it last has it. The committed offset is read after that.
    """

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._group: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()
        self._open: dict[TopicPartition, PartitionTransactions] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """See `Delivery`."""
        async with asyncio.TaskGroup() as group:
            self._context.health.set_ready("output")
            self._group.set_result(group)
            await asyncio.Event().wait()

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Delivery`.

        Raises:
            KafkaUnavailableError: the transactions of a partition could not be taken over.
        """
        group = await asyncio.shield(self._group)
        await self.on_revoked()  # there is something open when what came after a first try has failed
        opened = {partition: PartitionTransactions(partition, self._context) for partition in partitions}
        try:
            await _claim_all(opened.values())
        except BaseException:
            await asyncio.gather(*(transactions.close() for transactions in opened.values()))
            raise
        self._open = opened
        self._tasks = [group.create_task(transactions.run()) for transactions in opened.values()]

    def fetched(self, frame: InFlightFrame) -> None:
        """See `Delivery`. Nothing to remember: a partition's frames are answered in order."""

    async def deliver(self, answers: Sequence[FrameResult]) -> None:
        """See `Delivery`."""
        for answer in answers:
            if answer.partition in self._open:
                self._open[answer.partition].put(answer)

    async def commit(self) -> None:
        """See `Delivery`. Offsets went with their output."""

    async def wait_fenced(self) -> None:
        """See `Delivery`."""
        if not self._open:
            await asyncio.Event().wait()
        await first_of(*(transactions.fenced.wait() for transactions in self._open.values()))

    async def on_revoked(self) -> None:
        """See `Delivery`."""
        closing, self._open = self._open, {}
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # A task that was cancelled before it began has closed nothing.
        await asyncio.gather(*(transactions.close() for transactions in closing.values()))


async def _claim_all(opened: Iterable[PartitionTransactions]) -> None:
    """Claim each, at once; when one fails, after the others have come to an end too."""
    for error in await asyncio.gather(*(transactions.claim() for transactions in opened), return_exceptions=True):
        if error is not None:
            raise error
