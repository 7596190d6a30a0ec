"""The edge's one producer: connects when a broker comes, and is replaced when it can send no more."""

import asyncio
import time

import structlog
from aiokafka.errors import KafkaTimeoutError

from edge.outbox.producer import Acknowledgement, Producer
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import unavailable
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import ensure_topics
from framematch.core.settings import KafkaSettings

__all__ = ["Acknowledgement", "Connection"]

log = structlog.get_logger()

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_LOG_INTERVAL_S = 10.0
_CHECK_TIMEOUTS = 3  # of a request: topics, their leaders


class Connection:
    """An idempotent producer while there is one: nothing that it sends is written twice or out of order.

    An error that reaches a record is final for the producer (see `Producer`). It takes no more then; when the fate of
    all that it has is known, a new one comes. A record may be sent again then: it has not been written.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._old: Producer | None = None
        self._alone: Producer | None = None
        self._up = asyncio.Event()
        self._broken = asyncio.Event()
        self._next_log_s = 0.0

    @property
    def connected(self) -> bool:
        """Whether there is a producer that takes records. It may not have noticed yet that the broker went away."""
        return self._up.is_set()

    async def wait_connected(self) -> None:
        """Return as soon as it is."""
        await self._up.wait()

    async def run(self) -> None:
        """Connect, and again whenever the producer can send no more; endless. `close` afterwards."""
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        renewed = False
        while True:
            try:
                await self._open()
            except KafkaUnavailableError as error:
                self.say_unavailable(error)
                await asyncio.sleep(backoff.next_delay_s())
                continue
            log.info("kafka_connected", renewed=renewed)
            backoff.reset()
            await self._broken.wait()
            await self._retire()
            renewed = True
            await asyncio.sleep(backoff.next_delay_s())

    async def send(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a record at once; see `Producer.send`.

        Raises:
            KafkaError: it was not queued.
            KafkaUnavailableError: there is no producer at the moment.
        """
        return self._working().send(record)

    async def send_alone(self, record: ProducerRecord) -> Acknowledgement:
        """The same, in a batch without any other record: what the broker says of the batch is true of the record.

        It takes a way of its own: who cares for order waits for what was sent before, and for this.
        """
        self._working()
        if self._alone is not None and self._alone.fatal:
            fatal, self._alone = self._alone, None
            await fatal.close()
        if self._alone is None:
            self._alone = Producer(self._settings, lambda: None, alone=True)
        return self._alone.send(record)

    async def check(self) -> None:
        """Ask whether the broker is there with our topics, make those that are missing, and log what is wrong."""
        try:
            async with asyncio.timeout(self._check_timeout_s):
                await ensure_topics(self._settings)
        except KafkaUnavailableError as error:
            self.say_unavailable(error)
        except TimeoutError:
            self.say_unavailable(unavailable(self._settings, KafkaTimeoutError()))

    async def close(self) -> None:
        """Disconnect. Who wants the fate of a record waits for it before; what is not acknowledged is given up."""
        self._up.clear()
        producers = (self._old, self._producer, self._alone)
        self._old = self._producer = self._alone = None
        for producer in producers:
            if producer is not None:
                await producer.close()

    def say_unavailable(self, error: KafkaUnavailableError) -> None:
        """Log it, ten seconds apart or more."""
        if time.monotonic() >= self._next_log_s:
            self._next_log_s = time.monotonic() + _LOG_INTERVAL_S
            log.warning("kafka_unavailable", error=error.message, hint=error.hint)

    @property
    def _check_timeout_s(self) -> float:
        return _CHECK_TIMEOUTS * self._settings.request_timeout_ms / 1_000

    def _working(self) -> Producer:
        if self._producer is None or self._broken.is_set():
            raise KafkaUnavailableError("there is no connection to Kafka at the moment")
        return self._producer

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._check_timeout_s):
                await ensure_topics(self._settings)
        except TimeoutError:
            raise unavailable(self._settings, KafkaTimeoutError()) from None
        self._producer = Producer(self._settings, self._break)
        self._broken.clear()
        self._up.set()

    async def _retire(self) -> None:
        old, self._producer = self._producer, None
        if old is not None:
            self._old = old
            # Without a deadline: records of other partitions may still be on their way, and must come first.
            await old.settled()
            await old.close()
            self._old = None

    def _break(self) -> None:
        self._up.clear()
        self._broken.set()
