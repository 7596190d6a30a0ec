"""The edge's one producer: created when a broker answers, replaced when it can send nothing more."""

import asyncio
import time

import structlog
from aiokafka.errors import KafkaTimeoutError

from edge.outbox.producer import Acknowledgement, IdempotentProducer
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import unavailable
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_FIRST_DELAY_S = 0.2
_MAX_DELAY_S = 5.0
_LOG_INTERVAL_S = 10.0
_CHECK_TIMEOUTS = 3  # request timeouts that a check may take: for topics and their leaders


class ReconnectingProducer:
    """An idempotent producer while Kafka is reachable: it writes nothing twice or out of order.

    A record's error is final for the producer behind it (see `IdempotentProducer`). That one is replaced once the fate
    of all its records is known; then failed records may be sent again, as they were not written.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: IdempotentProducer | None = None
        self._retiring: IdempotentProducer | None = None
        self._isolated: IdempotentProducer | None = None
        self._connected = asyncio.Event()
        self._broken = asyncio.Event()
        self._next_log_s = 0.0

    @property
    def connected(self) -> bool:
        """Whether it takes records. It may not have noticed yet that the broker is unreachable."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Return as soon as it takes records."""
        await self._connected.wait()

    async def run(self) -> None:
        """Connect, and replace the producer whenever it can send nothing more; endless. `close` afterwards."""
        backoff = Backoff(_FIRST_DELAY_S, _MAX_DELAY_S)
        renewed = False
        while True:
            try:
                await self._open()
            except KafkaUnavailableError as error:
                self._log_unavailable(error)
                await asyncio.sleep(backoff.next_delay_s())
                continue
            log.info("kafka_connected", renewed=renewed)
            backoff.reset()
            await self._broken.wait()
            await self._retire()
            renewed = True
            await asyncio.sleep(backoff.next_delay_s())

    async def send(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a record at once.

        Raises:
            KafkaError: it was not queued.
            KafkaUnavailableError: there is no producer at the moment.
        """
        return self._current().send(record)

    async def send_isolated(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a record in a batch of its own, so that a broker's error is about this record.

        It is not ordered with `send`: wait for the records before it, and for this one. It raises what `send` does.
        """
        self._current()
        if self._isolated is not None and self._isolated.fatal:
            fatal, self._isolated = self._isolated, None
            await fatal.close()
        if self._isolated is None:
            self._isolated = IdempotentProducer(self._settings, lambda: None, isolated=True)
        return self._isolated.send(record)

    async def check(self) -> None:
        """Check that the broker answers, create topics that are missing, and log what is wrong."""
        try:
            await self._ensure_topics()
        except KafkaUnavailableError as error:
            self._log_unavailable(error)

    async def close(self) -> None:
        """Disconnect. Records without an acknowledgement end with an error and are not sent again."""
        self._connected.clear()
        producers = (self._retiring, self._producer, self._isolated)
        self._retiring = self._producer = self._isolated = None
        for producer in producers:
            if producer is not None:
                await producer.close()

    def _log_unavailable(self, error: KafkaUnavailableError) -> None:
        if time.monotonic() >= self._next_log_s:
            self._next_log_s = time.monotonic() + _LOG_INTERVAL_S
            log.warning("kafka_unavailable", error=error.message, hint=error.hint)

    def _current(self) -> IdempotentProducer:
        if self._producer is None or self._broken.is_set():
            raise KafkaUnavailableError("there is no connection to Kafka at the moment")
        return self._producer

    async def _ensure_topics(self) -> None:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUTS * self._settings.request_timeout_ms / MS_PER_S):
                await ensure_topics(self._settings)
        except TimeoutError:
            raise unavailable(self._settings, KafkaTimeoutError()) from None

    async def _open(self) -> None:
        await self._ensure_topics()
        self._producer = IdempotentProducer(self._settings, self._break)
        self._broken.clear()
        self._connected.set()

    async def _retire(self) -> None:
        self._retiring, self._producer = self._producer, None
        if self._retiring is not None:
            # Without a deadline: records of other partitions may still be in flight, and must come first.
            await self._retiring.settled()
            await self._retiring.close()
            self._retiring = None

    def _break(self) -> None:
        self._connected.clear()
        self._broken.set()
