"""librdkafka's producer for the event loop: a future for each record, and its errors as aiokafka names them."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import confluent_kafka
import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, for_code

from framematch.core.kafka.clients import librdkafka_options
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings

_POLL_S = 0.005  # while an acknowledgement is awaited: what it costs is 200 calls a second of some microseconds
_IDLE_POLL_S = 0.25  # its log lines
_ABANDON_S = 0.5
_CLOSE_S = 5.0
_GAPLESS = {"enable.gapless.guarantee": True}

Acknowledgement = asyncio.Future[Any]

log = structlog.get_logger()


class RecordGivenUpError(KafkaError):  # type: ignore[misc]  # aiokafka publishes no types
    """librdkafka gave a record up itself: it was not written."""


class Producer:
    """Idempotent: what it sends is written once and in order, whatever the broker does, and tried again without end.

    Only what cannot be tried again ends with an error. Then, so that nothing overtakes that record, the producer sends
    no more (`enable.gapless.guarantee`), and what it has not sent ends with an error, too. What is on its way meanwhile
    may still be acknowledged.

    With `alone` each record is a batch of its own: what the broker says of the batch is true of the record. An error
    keeps nothing else from being sent then.

    Acknowledgements are fetched by a timer, many at once: no thread wakes the event loop for each. It belongs to the
    event loop in which it is made, and whoever makes it closes it. `on_failure` is called at every error.
    """

    def __init__(self, settings: KafkaSettings, on_failure: Callable[[], None], *, alone: bool = False) -> None:
        options = librdkafka_options(settings) | ({"batch.num.messages": 1} if alone else _GAPLESS)
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._unsettled = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._fatal = False
        self._client = confluent_kafka.Producer(options, logger=_Log())
        self._timer = self._loop.call_later(_IDLE_POLL_S, self._poll)

    @property
    def fatal(self) -> bool:
        """Whether it sends no more."""
        return self._fatal

    async def settled(self) -> None:
        """Return when the fate of all records is known."""
        await self._settled.wait()

    def send(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a record, of which a copy is made.

        The future ends when the record is acknowledged, or with an error: then it was not written.

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
            if not isinstance(error, MessageSizeTooLargeError):  # that is about the record alone
                self._on_failure()
            raise error from None
        self._unsettled += 1
        if self._unsettled == 1:
            self._settled.clear()
            self._poll_in(_POLL_S)
        return future

    async def close(self) -> None:
        """Disconnect. What is not acknowledged is given up: its future ends with an error, and it is not sent again."""
        self._timer.cancel()
        if self._unsettled:
            self._client.purge()
        deadline_s = self._loop.time() + _ABANDON_S
        while self._unsettled and self._loop.time() < deadline_s:
            self._serve(_POLL_S)
        await self._join()

    async def _join(self) -> None:
        """Wait for librdkafka's threads, but not for long: one may hang in the resolution of a name."""
        closed = asyncio.Event()

        def close() -> None:
            self._client.close()
            with suppress(RuntimeError):  # nobody waited for so long: the loop is closed
                self._loop.call_soon_threadsafe(closed.set)

        # Of its own and a daemon: the default executor's threads would keep the service from ending.
        threading.Thread(target=close, name="librdkafka-close", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await closed.wait()
        except TimeoutError:
            log.warning("kafka_close_abandoned", client="librdkafka", reason=f"not within {_CLOSE_S:g} s")

    def _poll(self) -> None:
        self._serve(0)
        if self._fatal and self._unsettled:
            # What it had not sent, or sent behind a record that failed, would stay there for ever.
            self._client.purge(in_queue=True, in_flight=False)
        self._poll_in(_POLL_S if self._unsettled else _IDLE_POLL_S)

    def _serve(self, timeout_s: float) -> None:
        """Let librdkafka tell what it has to tell."""
        try:
            self._client.poll(timeout_s)
        except confluent_kafka.KafkaException as exception:  # by this it tells of fatal errors alone
            self._fatal = True
            log.error("kafka_producer_failed", error=exception.args[0].str())  # noqa: TRY400  # no traceback: foreseen
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


def error_of(error: confluent_kafka.KafkaError) -> KafkaError:
    """A broker's error as aiokafka has it, by the protocol's number; RecordGivenUpError for librdkafka's own."""
    if error.code() < confluent_kafka.KafkaError.UNKNOWN:
        return RecordGivenUpError(f"{error.name()}: {error.str()}")
    return for_code(error.code())(error.str())


class _Log:
    """Takes librdkafka's lines to the log, one logger for each kind: there, a kind is let through now and then."""

    def log(self, level: int, _: str, kind: str, _name: str, text: str) -> None:
        """As librdkafka's binding calls it."""
        if kind != "CONFWARN":  # of our own options; one is called experimental, and tests hold librdkafka to it
            logging.getLogger(f"librdkafka.{kind.lower()}").log(level, "%s", text)
