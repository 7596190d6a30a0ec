"""librdkafka's producer for the event loop: a future for each record, errors as aiokafka names them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import confluent_kafka
import structlog
from aiokafka.errors import (
    InvalidMessageError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
    for_code,
)

from framematch.core.kafka.clients import librdkafka_options
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings

_POLL_S = 0.005  # while an acknowledgement is pending; 200 calls a second of a few microseconds
_IDLE_POLL_S = 0.25  # for log lines
_PURGE_S = 0.5
_CLOSE_S = 5.0
_GAPLESS = {"enable.gapless.guarantee": True}

Acknowledgement = asyncio.Future[None]
"""Done when Kafka has acknowledged a record, or with an error when it was not written."""

log = structlog.get_logger()


class RecordProducer(Protocol):
    """What sends records of any topic."""

    async def send(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a record at once."""


class RecordGivenUpError(KafkaError):  # type: ignore[misc]  # aiokafka publishes no types
    """librdkafka itself gave a record up: it was not written."""


@dataclass(frozen=True)
class Rejection:
    """Why Kafka rejects a record, as a metric label, and after how many rejections the record is dropped."""

    reason: str
    attempts: int = 1


# Both may also come from a broker or network in trouble. aiokafka has no name for INVALID_RECORD (87): UnknownError.
_UNCERTAIN = Rejection("refused", attempts=4)

_REJECTIONS: Mapping[type[KafkaError], Rejection] = {
    MessageSizeTooLargeError: Rejection("too_large"),
    RecordListTooLargeError: Rejection("too_large"),
    InvalidTimestampError: Rejection("refused"),
    InvalidMessageError: _UNCERTAIN,
    UnknownError: _UNCERTAIN,
}


def rejection(error: BaseException) -> Rejection | None:
    """How Kafka rejects what was sent; None for an error after which sending again can help.

    A broker rejects a whole batch. Only a record that was alone in its batch is known to be the cause.
    """
    return next((found for kind, found in _REJECTIONS.items() if isinstance(error, kind)), None)


def error_of(error: confluent_kafka.KafkaError) -> KafkaError:
    """A broker's error as aiokafka's class with the same protocol number; RecordGivenUpError for librdkafka's own."""
    if error.code() < confluent_kafka.KafkaError.UNKNOWN:
        return RecordGivenUpError(f"{error.name()}: {error.str()}")
    return for_code(error.code())(error.str())


class IdempotentProducer:
    """Writes each record once and in order, and retries without limit. For the event loop that creates it.

    Only errors that cannot be retried end a record. The producer then sends nothing more, so that nothing overtakes
    that record (`enable.gapless.guarantee`), and unsent records end with an error too. Records in flight at that moment
    may still be acknowledged.

    With `isolated` every record is a batch of its own: a broker's error is about this record, and does not stop others.

    A timer polls for acknowledgements, many at once, so no thread wakes the event loop for each. `on_failure` is called
    at every error.
    """

    def __init__(self, settings: KafkaSettings, on_failure: Callable[[], None], *, isolated: bool = False) -> None:
        options = librdkafka_options(settings) | ({"batch.num.messages": 1} if isolated else _GAPLESS)
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._unsettled = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self.fatal = False  # it can send nothing more
        self._client = confluent_kafka.Producer(options, logger=_Log())
        self._timer = self._loop.call_later(_IDLE_POLL_S, self._poll)

    async def settled(self) -> None:
        """Return when every record is acknowledged or has failed."""
        await self._settled.wait()

    def send(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a copy of a record.

        Raises:
            KafkaError: it was not queued.
        """
        future: Acknowledgement = self._loop.create_future()
        try:
            self._client.produce(
                record.topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp=record.timestamp_ms or 0,
                on_delivery=partial(self._settle, future),
            )
        except confluent_kafka.KafkaException as exception:
            error = error_of(exception.args[0])
            if not isinstance(error, MessageSizeTooLargeError):  # this one concerns the record alone
                self._on_failure()
            raise error from None
        self._unsettled += 1
        if self._unsettled == 1:
            self._settled.clear()
            self._poll_in(_POLL_S)
        return future

    async def close(self) -> None:
        """Disconnect. Records without an acknowledgement end with an error and are not sent again."""
        self._timer.cancel()
        if self._unsettled:
            self._client.purge()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PURGE_S):
                while self._unsettled:
                    self._serve()
                    await asyncio.sleep(_POLL_S)
        await self._join()

    async def _join(self) -> None:
        """Wait for librdkafka's threads, but not for long: one may hang while it resolves a host name."""
        closed = asyncio.Event()

        def close() -> None:
            self._client.close()
            with suppress(RuntimeError):  # the event loop is closed: nothing waits any more
                self._loop.call_soon_threadsafe(closed.set)

        # A daemon thread: a thread of the default executor would keep the service from ending.
        threading.Thread(target=close, name="librdkafka-close", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await closed.wait()
        except TimeoutError:
            log.warning("kafka_close_abandoned", client="librdkafka", reason=f"not within {_CLOSE_S:g} s")

    def _poll(self) -> None:
        self._serve()
        if self.fatal and self._unsettled:
            # Records that it had not sent, or sent behind the failed one, would stay queued for ever.
            self._client.purge(in_queue=True, in_flight=False)
        self._poll_in(_POLL_S if self._unsettled else _IDLE_POLL_S)

    def _serve(self) -> None:
        """Run librdkafka's callbacks, without waiting."""
        try:
            self._client.poll(0)
        except confluent_kafka.KafkaException as exception:  # raised for fatal errors only
            self.fatal = True
            log.error("kafka_producer_failed", error=exception.args[0].str())  # noqa: TRY400  # expected: no traceback
            self._on_failure()

    def _poll_in(self, delay_s: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._poll)

    def _settle(
        self, future: Acknowledgement, error: confluent_kafka.KafkaError | None, _: confluent_kafka.Message
    ) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._settled.set()
        if not future.done():  # it may have been cancelled
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error_of(error))
        if error is not None:
            self._on_failure()


class _Log:
    """Passes librdkafka's log lines on, with a logger for each kind so that each kind is rate-limited by itself."""

    def log(self, level: int, _: str, kind: str, _name: str, text: str) -> None:
        """Called by librdkafka's binding."""
        if kind != "CONFWARN":  # about our own options: one is experimental, and tests pin its behaviour
            logging.getLogger(f"librdkafka.{kind.lower()}").log(level, "%s", text)
