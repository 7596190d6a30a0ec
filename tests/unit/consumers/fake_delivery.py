"""A delivery that publishes nothing, for tests of the consumer."""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition

from consumers.in_flight_frame import InFlightFrame
from framematch.core.errors import KafkaUnavailableError


class FakeDelivery:
    """A delivery that is assigned partitions, and commits, when the test allows it."""

    def __init__(self) -> None:
        self.may_open, self.may_commit = asyncio.Event(), asyncio.Event()
        self.may_open.set()
        self.may_commit.set()
        self.opening = self.committing = self.revoked = 0
        self.failures = 0
        self.fetched_offsets: list[tuple[int, int]] = []

    async def on_assigned(self, _partitions: Iterable[TopicPartition]) -> None:
        """Waits for `may_open`; fails as often as `failures` says."""
        self.opening += 1
        await self.may_open.wait()
        if self.failures:
            self.failures -= 1
            raise KafkaUnavailableError("not yet")

    def fetched(self, frame: InFlightFrame) -> None:
        """Remember the order."""
        self.fetched_offsets.append((frame.partition.partition, frame.record.offset))

    def reached(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing waits."""

    async def commit(self) -> None:
        """Waits for `may_commit`."""
        self.committing += 1
        await self.may_commit.wait()

    async def wait_fenced(self) -> None:
        """Never."""
        await asyncio.Event().wait()

    async def on_revoked(self) -> None:
        """Count."""
        self.revoked += 1

    def offsets_of(self, partition: TopicPartition) -> list[int]:
        """The fetched offsets of a partition, in order."""
        return [offset for number, offset in self.fetched_offsets if number == partition.partition]
