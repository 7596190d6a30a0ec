"""The edge's one producer: connects when a broker comes, and is replaced when it can send no more."""

import asyncio
import math
import time
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from edge.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka import new_producer, stop_client, unavailable
from framematch.core.settings import KafkaSettings
from framematch.core.topics import ensure_topics

log = structlog.get_logger()

_CLOSE_S = 2.0
_ABANDON_S = 0.5
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_LOG_INTERVAL_S = 10.0
_START_TIMEOUTS = 3  # of a request: topics, bootstrap, producer id

Record = dict[str, Any]
Acknowledgement = asyncio.Future[Any]


class Connection:
    """An idempotent producer while there is one: nothing that it sends is written twice or out of order.

    aiokafka retries whatever can be retried, without end. An error that reaches a record is therefore final for this
    producer, and the record's sequence number stays missing: the broker refuses all that follows in that partition
    (OutOfOrderSequenceNumber). Such a producer takes no more; when the fate of all that it has is known, a new one
    comes. A record may be sent again then: it has not been written.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._old: AIOKafkaProducer | None = None
        self._up = asyncio.Event()
        self._broken = asyncio.Event()
        self._unsettled = 0
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

    async def send(self, topic: str, record: Record) -> Acknowledgement:
        """Queue a record (`key`, `value`, `headers`, `timestamp_ms`), waiting while its partition's queue is full.

        The future that it returns ends when the record is acknowledged, or with an error: then it was not written.

        Raises:
            KafkaError: it was not queued.
            KafkaUnavailableError: there is no producer at the moment.
        """
        producer = self._working()
        try:
            future: Acknowledgement = await producer.send(topic, **record)
        except (KafkaTimeoutError, MessageSizeTooLargeError):
            raise  # before it got a sequence number
        except KafkaError:
            self._break(producer)
            raise
        return self._follow(producer, future)

    async def send_alone(self, topic: str, record: Record) -> Acknowledgement:
        """The same, in a batch without any other record: what the broker says of the batch is true of the record."""
        producer = self._working()
        try:
            partitions = sorted(await producer.partitions_for(topic))
            batch = producer.create_batch()
            batch.append(
                key=record["key"],
                value=record["value"],
                timestamp=record["timestamp_ms"],
                headers=record["headers"],
            )
            batch.close()
            partition = DefaultPartitioner()(record["key"], partitions, partitions)
            future: Acknowledgement = await producer.send_batch(batch, topic, partition=partition)
        except KafkaTimeoutError:
            raise
        except KafkaError:
            self._break(producer)
            raise
        return self._follow(producer, future)

    async def check(self) -> None:
        """Ask whether the broker is there with our topics, make those that are missing, and log what is wrong."""
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await ensure_topics(self._settings)
        except KafkaUnavailableError as error:
            self.say_unavailable(error)
        except TimeoutError:
            self.say_unavailable(unavailable(self._settings, KafkaTimeoutError()))

    async def close(self) -> None:
        """Disconnect. Who wants the fate of a record waits for it before; what is not acknowledged is given up."""
        self._up.clear()
        for producer in (self._old, self._producer):
            if producer is None:
                continue
            if self._unsettled:
                await _abandon(producer)
            else:
                await stop_client(producer, timeout_s=_CLOSE_S)
        self._old = self._producer = None

    def say_unavailable(self, error: KafkaUnavailableError) -> None:
        """Log it, ten seconds apart or more."""
        if time.monotonic() >= self._next_log_s:
            self._next_log_s = time.monotonic() + _LOG_INTERVAL_S
            log.warning("kafka_unavailable", error=error.message, hint=error.hint)

    @property
    def _start_timeout_s(self) -> float:
        return _START_TIMEOUTS * self._settings.request_timeout_ms / 1_000

    def _working(self) -> AIOKafkaProducer:
        if self._producer is None or self._broken.is_set():
            raise KafkaUnavailableError("there is no connection to Kafka at the moment")
        return self._producer

    async def _retire(self) -> None:
        old, self._producer = self._producer, None
        if old is not None:
            self._old = old
            # Without a deadline: records of other partitions may still be on their way, and must come first.
            await old.stop()
            self._old = None

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await ensure_topics(self._settings)
                await self._start()
        except TimeoutError:
            raise unavailable(self._settings, KafkaTimeoutError()) from None

    async def _start(self) -> None:
        producer = new_producer(self._settings)
        keep_batches(producer)
        try:
            await producer.start()
        except BaseException as error:
            await stop_client(producer, timeout_s=_CLOSE_S)
            if isinstance(error, KafkaError):
                raise unavailable(self._settings, error) from None
            raise
        self._producer = producer
        self._broken.clear()
        self._up.set()

    def _follow(self, producer: AIOKafkaProducer, future: Acknowledgement) -> Acknowledgement:
        self._unsettled += 1
        future.add_done_callback(partial(self._settle, producer))
        return future

    def _settle(self, producer: AIOKafkaProducer, done: Acknowledgement) -> None:
        self._unsettled -= 1
        if not done.cancelled() and done.exception() is not None:
            self._break(producer)

    def _break(self, producer: AIOKafkaProducer) -> None:
        if producer is self._producer:
            self._up.clear()
            self._broken.set()


def keep_batches(producer: AIOKafkaProducer) -> None:
    """Let no batch expire.

    While a partition has no leader, aiokafka fails a batch that is older than `request_timeout_ms`, even one that it
    has sent before and that the broker may have written: sent again by a new producer, it would be there twice. A
    restarted or frozen broker is without leaders for a moment. aiokafka has no option for it.
    """
    producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001  # see above; a test holds aiokafka to it


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer that still has records, so that none of them is sent any more."""
    sending: asyncio.Task[None] = producer._sender.sender_task  # noqa: SLF001  # `stop` would wait for the broker
    sending.cancel()
    await producer.client.close()
    await asyncio.wait([sending], timeout=_ABANDON_S)
    await stop_client(producer, timeout_s=_ABANDON_S)
