"""Publishes what a service logs to the topic of logs, and never delays the service or lets it fail.

It runs in a thread with an event loop of its own, so it also has what is logged before and after the service's loop.
"""

import asyncio
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

import msgspec
import structlog
from aiokafka.errors import KafkaError

from framematch.core.backoff import Backoff
from framematch.core.cloud_events import log_headers
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import LOG_SCHEMA, LogEvent, LogLevel, encode
from framematch.core.kafka.clients import client_options, new_producer, start_client, stop_client
from framematch.core.kafka.protocols import Producer
from framematch.core.kafka.topics import Topics
from framematch.core.logging import listening
from framematch.core.settings import KafkaSettings, Settings
from framematch.core.timestamps import now_us, to_rfc3339

log = structlog.get_logger()

_QUEUE_MAX = 10_000
_BATCH = 500
_POLL_S = 0.1
_FLUSH_S = 1.0  # at the end of the service
_CLOSE_S = 0.3
_END_S = 2.0  # for closing what does not answer
_REPORT_S = 10.0
_BACKOFF_S = (0.5, 10.0)
_MAX_BYTES = 65_536  # of the fields of an event
_LEVELS = {name: number for number, name in enumerate(get_args(LogLevel))}
_OWN = ("timestamp", "service", "level", "event")


@contextmanager
def published_log(settings: Settings, service: str) -> Iterator[None]:
    """Inside the context the log goes to the topic too, if the settings say so.

    Raises:
        SettingsError: there is no address of Kafka, or the security settings are invalid.
    """
    if not settings.log.topic:
        yield
        return
    client_options(settings.kafka)  # so that a mistake is reported here
    topic = LogTopic(Topics(settings.kafka.topic_prefix).logs, settings.log.topic_level, service)
    with topic.publishing(settings.kafka), listening(topic.take):
        yield


class LogTopic:
    """A bounded queue of log events, and the thread that publishes them.

    When the queue is full, as Kafka does not take what is in it, new events are dropped and counted. What this thread
    itself logs, such as the messages of its Kafka client, is not published: it would feed itself.
    """

    def __init__(self, topic: str, level: str, service: str) -> None:
        self._topic = topic
        self._lowest = _LEVELS[level]
        self._service = service
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._batch: list[LogEvent] = []  # sent, and not acknowledged yet
        self._stop = threading.Event()
        self._is_away = False
        self._reported = 0
        self.thread: threading.Thread | None = None
        """Whose events are not published."""
        self.dropped = 0
        """Events that the queue had no room for, or that Kafka had not taken at the end."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Called with each log event, in any thread."""
        if _LEVELS.get(event.get("level", ""), 0) < self._lowest or threading.current_thread() is self.thread:
            return
        if len(self._waiting) >= _QUEUE_MAX:
            self.dropped += 1
        else:
            self._waiting.append(dict(event))  # what writes the line may change it

    @contextmanager
    def publishing(self, kafka: KafkaSettings) -> Iterator[None]:
        """Run the thread inside the context; at its end the rest is sent within a second, or dropped."""
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run(kafka)), name="log-topic", daemon=True)
        self.thread.start()
        try:
            yield
        finally:
            self.stop()
            self.thread.join(_FLUSH_S + _END_S)

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()

    async def run(self, kafka: KafkaSettings, new: Callable[[KafkaSettings], Any] = new_producer) -> None:
        """Publish until the end of the context, and for at most a second longer."""
        task = asyncio.ensure_future(self._connect(kafka, new))
        while not self._stop.is_set() and not task.done():
            await asyncio.wait({task}, timeout=_POLL_S)
        await asyncio.wait({task}, timeout=_FLUSH_S)
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSE_S)
        self.dropped += len(self._waiting) + len(self._batch)
        self._report_dropped()

    async def _connect(self, kafka: KafkaSettings, new: Callable[[KafkaSettings], Any]) -> None:
        """Publish, with another producer after each failure: what fails has broken the former one."""
        backoff = Backoff(*_BACKOFF_S)
        while not (self._stop.is_set() and not self._waiting and not self._batch):
            producer = new(kafka)
            try:
                await start_client(producer, kafka, explain=False)
                try:
                    await self._publish(producer, backoff)
                finally:
                    await stop_client(producer, timeout_s=_CLOSE_S)
            except (KafkaUnavailableError, KafkaError) as error:
                if not self._is_away:
                    log.warning("log_topic_unavailable", topic=self._topic, error=str(error))
                self._is_away = True
                self._report_dropped()
                await asyncio.sleep(backoff.next_delay_s())

    async def _publish(self, producer: Producer, backoff: Backoff) -> None:
        """Send what waits, until the end."""
        report_at_s = time.monotonic() + _REPORT_S
        while True:
            is_last = self._stop.is_set()
            while len(self._batch) < _BATCH and self._waiting:
                self._batch.append(self._event(self._waiting.popleft()))
            if self._batch:
                await self._send(producer)
                backoff.reset()
                self._is_away = False
            elif is_last:
                return
            else:
                await asyncio.sleep(_POLL_S)
            if time.monotonic() >= report_at_s:
                self._report_dropped()
                report_at_s = time.monotonic() + _REPORT_S

    async def _send(self, producer: Producer) -> None:
        futures = []
        for event in self._batch:
            future = await producer.send(
                self._topic, encode(event), key=event.service.encode(), headers=log_headers(event), partition=None
            )
            future.add_done_callback(_take_note)
            futures.append(future)
        await asyncio.gather(*futures)
        self._batch = []

    def _event(self, line: Mapping[str, Any]) -> LogEvent:
        fields = {str(name): value for name, value in line.items() if name not in _OWN}
        level: Any = line.get("level")
        return LogEvent(
            schema=LOG_SCHEMA,
            id=str(uuid.uuid4()),
            at=str(line.get("timestamp") or to_rfc3339(now_us())),
            service=str(line.get("service") or self._service),
            host=socket.gethostname(),
            pid=os.getpid(),
            level=level if level in _LEVELS else "info",
            event=str(line.get("event")),
            fields=_bounded(fields),
        )

    def _report_dropped(self) -> None:
        if self.dropped > self._reported:
            log.warning("log_events_dropped", topic=self._topic, events=self.dropped - self._reported)
            self._reported = self.dropped


def _take_note(future: asyncio.Future[object]) -> None:
    """So that asyncio does not report an error that we know of by another future."""
    if not future.cancelled():
        future.exception()


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as JSON can have them, or for lack of that as a text; only their size if they are too large."""
    try:
        size = len(msgspec.json.encode(fields, enc_hook=str))
    except (TypeError, ValueError, OverflowError, RecursionError):  # such as a key None, or a number of 65 bits
        text = str(fields)
        fields, size = {"text": text}, len(text.encode())
    return fields if size <= _MAX_BYTES else {"omitted_bytes": size}
