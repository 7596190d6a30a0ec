"""Exactly once: a partition's output and offset go into one Kafka transaction, fenced by the partition's own id."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import TopicPartition

from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.transactions import PartitionTransactions
from consumers.in_flight_frame import InFlightFrame
from consumers.stages.results import FrameResult
from framematch.core.lifecycle import first_of


class ExactlyOnce:
    """A `Delivery` whose every event is seen once by subscribers that read committed records only.

    aiokafka's transactions do not check the group's generation. So each input partition has a transactional id: its
    newest owner fences the one before, and reads the committed offset after that.
    """

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._group: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()
        self._assigned: dict[TopicPartition, PartitionTransactions] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Implements `Delivery.run`."""
        async with asyncio.TaskGroup() as group:
            self._context.health.set_ready("output")
            self._group.set_result(group)
            await asyncio.Event().wait()

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Implements `Delivery.on_assigned`.

        Raises:
            KafkaUnavailableError: a partition's transactional id could not be claimed.
        """
        group = await asyncio.shield(self._group)
        await self.on_revoked()  # a former attempt may have failed after this method
        assigned = {partition: PartitionTransactions(partition, self._context) for partition in partitions}
        try:
            await _claim_all(assigned.values())
        except BaseException:
            await asyncio.gather(*(transactions.close() for transactions in assigned.values()))
            raise
        self._assigned = assigned
        self._tasks = [group.create_task(transactions.run()) for transactions in assigned.values()]

    def fetched(self, frame: InFlightFrame) -> None:
        """Nothing to register: a partition's frames are delivered in order."""

    def reached(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Nothing to do: a transaction without output is not worth it."""

    async def deliver(self, results: Sequence[FrameResult]) -> None:
        """Implements `Delivery.deliver`."""
        for result in results:
            if result.partition in self._assigned:
                self._assigned[result.partition].put(result)

    def finish(self) -> None:
        """Implements `Delivery.finish`."""
        for transactions in self._assigned.values():
            transactions.finish()

    async def commit(self) -> None:
        """Nothing to do: transactions commit the offsets."""

    async def wait_fenced(self) -> None:
        """Implements `Delivery.wait_fenced`."""
        if not self._assigned:
            await asyncio.Event().wait()
        await first_of(*(transactions.fenced.wait() for transactions in self._assigned.values()))

    async def on_revoked(self) -> None:
        """Implements `Delivery.on_revoked`."""
        revoked, self._assigned = self._assigned, {}
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # A task that was cancelled before its first step has closed nothing.
        await asyncio.gather(*(transactions.close() for transactions in revoked.values()))


async def _claim_all(assigned: Iterable[PartitionTransactions]) -> None:
    """Claim all at once; raises the first error after every claim has ended."""
    for error in await asyncio.gather(*(transactions.claim() for transactions in assigned), return_exceptions=True):
        if error is not None:
            raise error
