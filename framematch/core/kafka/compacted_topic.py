"""Keeps the newest value of each key of a compacted topic in memory, without a group."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import kafka_errors, new_consumer, start_client, stop_client, unavailable
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.reading import read_to_end
from framematch.core.kafka.topics import wait_for_topic
from framematch.core.settings import KafkaSettings
from framematch.core.units import BYTES_PER_MB

log = structlog.get_logger()

_POLL_MS = 50  # the end of a transaction, which is no record, is noticed after this
_FETCH_WAIT_MS = 100  # other requests of the connection wait for a fetch, such as that for the end of the topic
_CHECK_S = 5.0
_CHECK_TIMEOUT_S = 5.0
_LOG_INTERVAL_S = 10.0
_FIRST_DELAY_S, _MAX_DELAY_S = 0.2, 5.0
_BYTES_MAX = 64 * BYTES_PER_MB
_NOT_READ = "it has not been read yet"


class CompactedTopic:
    """The newest value of each key of `topic`; for the event loop alone.

    It reads committed records. Every connection reads the whole topic first, so that no change is missed, and a topic
    that was created again is noticed. Keys and values above `bytes_max` in all are left out, and logged.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, on_change: Callable[[], object], *, bytes_max: int = _BYTES_MAX
    ) -> None:
        """`on_change` is called after the whole topic was read, and after each change."""
        self._kafka = kafka
        self._topic = topic
        self._on_change = on_change
        self._bytes_max = bytes_max
        self._values = _Values(topic, bytes_max)
        self._consumer: Consumer | None = None
        self._moved = asyncio.Event()
        self._next_log_s = 0.0
        self.end = 0
        """The offset behind the last record that was read."""
        self.problem: str | None = _NOT_READ
        """Why the values may be old; None while they are the newest ones."""
        self.complete = False
        """Whether the whole topic has been read once."""

    @property
    def values(self) -> Mapping[str, bytes]:
        """The newest value by key; keys with a tombstone are left out."""
        return self._values.by_key

    async def run(self) -> None:
        """Read and follow the topic, also while Kafka or the topic is away; endless."""
        backoff = Backoff(_FIRST_DELAY_S, _MAX_DELAY_S)
        while True:
            try:
                await self._connect(backoff)
            except (KafkaUnavailableError, KafkaError) as error:
                self._fail(error if isinstance(error, KafkaUnavailableError) else unavailable(self._kafka, error))
            await asyncio.sleep(backoff.next_delay_s())

    async def read_on(self, timeout_s: float, *, behind: int | None = None) -> None:
        """Return when everything has been read that readers can see now, and everything up to the offset `behind`.

        Kafka acknowledges a transaction before its readers can see it: who has committed a record at an offset must
        ask for it by that offset.

        Raises:
            KafkaUnavailableError: not within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (consumer := self._consumer) is None:
                    await self._wait()
                [end] = (await consumer.end_offsets(list(consumer.assignment()))).values()
                until = end if behind is None else max(end, behind + 1)
                while self.problem is not None or self.end < until:
                    await self._wait()
        except (TimeoutError, KafkaError) as error:
            why = self.problem or str(error) or f"not within {timeout_s:g} s"
            raise KafkaUnavailableError(f"the topic {self._topic} could not be read: {why}") from None

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    async def _connect(self, backoff: Backoff) -> None:
        """One connection, until it fails or the topic is another one."""
        await wait_for_topic(self._kafka, self._topic)
        consumer = new_consumer(
            self._kafka,
            self._topic,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
        )
        await start_client(consumer, self._kafka, explain=False)
        try:
            with kafka_errors(self._kafka):
                topic_id = await self._topic_id(consumer)
                await self._read_all(consumer)
                backoff.reset()
                self._consumer = consumer
                await self._follow(consumer, topic_id)
        finally:
            self._consumer = None
            await stop_client(consumer)

    async def _read_all(self, consumer: Consumer) -> None:
        ranges = await offset_ranges(consumer, consumer.assignment())
        values = _Values(self._topic, self._bytes_max)
        async for record in read_to_end(consumer, ranges, poll_ms=_POLL_MS):
            values.apply([record])
        self._values = values
        self.end = max((offsets.stop for offsets in ranges.values()), default=0)
        self.complete = True
        self._recover()
        self._on_change()

    async def _follow(self, consumer: Consumer, topic_id: bytes | None) -> None:
        check_at_s = time.monotonic() + _CHECK_S
        while True:
            found = await consumer.getmany(timeout_ms=_POLL_MS)
            records = [record for part in found.values() for record in part]
            self._values.apply(records)
            self.end = max([self.end, *consumer.next_offsets().values()])
            self._moved.set()
            if records:
                self._on_change()
            if time.monotonic() < check_at_s:
                continue
            check_at_s = time.monotonic() + _CHECK_S
            now_id: bytes | None = None
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(_CHECK_TIMEOUT_S):
                    now_id = await self._topic_id(consumer)
                    self._recover()
                    if now_id == topic_id:
                        continue
                    log.warning("topic_changed", topic=self._topic, hint="It is read again from its start")
                    return
            self._fail(KafkaUnavailableError("Kafka does not answer"))

    async def _topic_id(self, consumer: Consumer) -> bytes | None:
        """The id of the topic; None when it does not exist, or its broker is too old to tell."""
        found = (await consumer.describe(self._topic)).get(self._topic)
        return found.id if found else None

    def _recover(self) -> None:
        self.problem = None
        self._moved.set()

    def _fail(self, error: KafkaUnavailableError) -> None:
        self.problem = error.message
        if time.monotonic() >= self._next_log_s:
            self._next_log_s = time.monotonic() + _LOG_INTERVAL_S
            log.warning("topic_not_read", topic=self._topic, error=error.message, hint=error.hint)


class _Values:
    """Values by key, at most `bytes_max` in all."""

    def __init__(self, topic: str, bytes_max: int) -> None:
        self.by_key: dict[str, bytes] = {}
        self._topic = topic
        self._bytes_max = bytes_max
        self._bytes = 0

    def apply(self, records: Iterable[ConsumerRecord]) -> None:
        """Apply records in their order."""
        for record in records:
            key = (record.key or b"").decode(errors="replace")
            if (old := self.by_key.pop(key, None)) is not None:
                self._bytes -= len(key) + len(old)
            if record.value is None:
                continue
            size = len(key) + len(record.value)
            if self._bytes + size > self._bytes_max:
                log.error("record_left_out", topic=self._topic, key=key, bytes_max=self._bytes_max)
                continue
            self.by_key[key] = record.value
            self._bytes += size
