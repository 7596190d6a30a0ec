"""A Kafka producer that is replaced when it can send no more, so that one refused frame does not end a camera."""

import asyncio
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, ProducerClosed

from framematch.core.kafka import new_producer, stop_client, unavailable
from framematch.core.settings import KafkaSettings

log = structlog.get_logger()

_CLOSE_S = 2.0

Record = dict[str, Any]
Acknowledgement = asyncio.Future[Any]


class RenewableProducer:
    """An idempotent producer, and a new one after an error that it cannot get over.

    An idempotent producer retries whatever can be retried, without end. An error that reaches a record is therefore
    final, and the record's sequence number stays missing: the broker refuses all that follows in that partition
    (OutOfOrderSequenceNumber) until there is a new producer id.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaUnavailableError: no broker answers, or it refuses us.
        """
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is queued and disconnect, within two seconds; after that, give up what is left."""
        if self._producer is not None:
            await stop_client(self._producer, timeout_s=_CLOSE_S)

    async def send(self, topic: str, record: Record) -> Acknowledgement:
        """Queue a record (`key`, `value`, `headers`, `timestamp_ms`), waiting while Kafka takes no more.

        The future that it returns ends when the record is acknowledged, or with the error that is final for it.

        Raises:
            KafkaError: the record cannot be sent, for example because it is too large.
            KafkaUnavailableError: there is no producer at the moment.
        """
        while True:
            producer = await self._working()
            try:
                future: Acknowledgement = await producer.send(topic, **record)
            except (KafkaTimeoutError, ProducerClosed):
                continue  # the queue is full, because Kafka is away or slow; or the producer was replaced meanwhile
            except MessageSizeTooLargeError:
                raise  # refused before it got a sequence number
            except KafkaError:
                self._mark_broken(producer)
                raise
            future.add_done_callback(partial(self._check, producer))
            return future

    async def _working(self) -> AIOKafkaProducer:
        async with self._renewing:
            if self._broken and self._producer is not None:
                old, self._producer = self._producer, None
                # Without a deadline: records of other partitions may still be on their way, and must come first.
                await old.stop()
            if self._producer is None:
                await self._start()
                log.warning("producer_renewed")
            return self._producer

    async def _start(self) -> None:
        producer = new_producer(self._settings)
        try:
            await producer.start()
        except KafkaError as error:
            await stop_client(producer, timeout_s=_CLOSE_S)
            raise unavailable(self._settings, error) from None
        self._producer, self._broken = producer, False

    def _check(self, producer: AIOKafkaProducer, done: Acknowledgement) -> None:
        if not done.cancelled() and done.exception() is not None:
            self._mark_broken(producer)

    def _mark_broken(self, producer: AIOKafkaProducer) -> None:
        if producer is self._producer:
            self._broken = True
