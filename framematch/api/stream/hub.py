"""Everything that the clients of the event stream share."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from framematch.api.problems import Problem
from framematch.api.stream.events import Wanted
from framematch.api.stream.follower import Follower
from framematch.api.stream.history import History
from framematch.api.stream.metrics import StreamMetrics
from framematch.api.stream.positions import Positions
from framematch.api.stream.reader import StreamReader
from framematch.api.stream.ring import Ring
from framematch.core.errors import KafkaUnavailableError
from framematch.core.settings import ApiSettings, KafkaSettings
from framematch.core.units import BYTES_PER_MB

_START_TIMEOUT_S = 5.0


class EventHub:
    """One reader and one ring, and the few readers of older events, for all clients."""

    def __init__(
        self,
        kafka: KafkaSettings,
        api: ApiSettings,
        registry: CollectorRegistry,
        report: Callable[[str | None], None],
    ) -> None:
        """`report` is told why Kafka cannot be read, or None when it can."""
        self.ring = Ring(int(api.stream_ring_mb * BYTES_PER_MB))
        self.metrics = StreamMetrics(registry)
        self._kafka = kafka
        self._history = History(kafka)
        self._reader = StreamReader(kafka, self.ring, report)
        self._clients_max = api.stream_clients_max
        self._clients = 0

    async def run(self) -> None:
        """Read Kafka without end; cancel it to disconnect."""
        try:
            await self._reader.run()
        finally:
            await self._history.close()

    async def now(self) -> Positions:
        """The position behind the newest event.

        Raises:
            KafkaUnavailableError: Kafka could not be read since the start of the process.
        """
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self.ring.started.wait()
        except TimeoutError:
            raise KafkaUnavailableError(
                f"Kafka does not answer at {self._kafka.bootstrap_servers}", hint="Check the broker"
            ) from None
        return self.ring.positions.copy()

    async def since(self, at_ms: int) -> Positions:
        """The position before the first event that was published at `at_ms` (since the epoch) or later.

        Raises:
            KafkaUnavailableError: Kafka does not answer.
        """
        await self.now()
        async with self._history.reader() as reader:
            return await reader.at(at_ms)

    def follow(self, wanted: Wanted, start: Positions) -> Follower:
        """A new client."""
        return Follower(self.ring, self._history, self.metrics, wanted, start)

    @contextmanager
    def client(self) -> Iterator[None]:
        """Counts a client inside the context.

        Raises:
            Problem: there are too many (429).
        """
        if self._clients >= self._clients_max:
            raise Problem(
                429, "too_many_streams", f"{self._clients} event streams are open already",
                hint="Close some, share one among the tabs of a browser, or raise api.stream_clients_max",
                headers={"Retry-After": "10"},
            )  # fmt: skip
        self._clients += 1
        self.metrics.clients.set(self._clients)
        try:
            yield
        finally:
            self._clients -= 1
            self.metrics.clients.set(self._clients)
