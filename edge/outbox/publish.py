"""Sends frames to Kafka and follows each until it is acknowledged or refused."""

import asyncio
import time
from functools import partial
from typing import Protocol

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from edge.meter import CameraMeter
from edge.outbox.drop_log import DropLog
from edge.outbox.producer import Acknowledgement, Record
from framematch.core.errors import KafkaUnavailableError
from framematch.core.frames import Frame, frame_headers

_US_PER_MS = 1_000


class Producer(Protocol):
    """What is needed of `edge.outbox.producer.RenewableProducer`; tests have one in memory."""

    async def send(self, topic: str, record: Record) -> Acknowledgement:
        """Queue a record; the future ends with its acknowledgement or its final error."""


class Publisher:
    """Puts frames into the topic `.frames`, with at most `unacknowledged_max` on their way over all cameras.

    Guarantees: frames of one camera reach Kafka in the order of the calls for it, each once; a frame is counted as
    published when all in-sync replicas have it, or as dropped with a reason when Kafka refuses it, and never as both.
    """

    def __init__(self, producer: Producer, topic: str, *, unacknowledged_max: int, max_message_bytes: int) -> None:
        self._producer = producer
        self._topic = topic
        self._max_message_bytes = max_message_bytes
        self._window = asyncio.Semaphore(unacknowledged_max)
        self._unacknowledged = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._progress_s = time.monotonic()
        self._drops = DropLog()

    @property
    def unacknowledged(self) -> int:
        """Frames sent whose fate is not known yet."""
        return self._unacknowledged

    @property
    def stalled_s(self) -> float:
        """For how long Kafka has answered nothing while frames were waiting for it; 0 when none waits."""
        return time.monotonic() - self._progress_s if self._unacknowledged else 0.0

    async def publish(self, frame: Frame, jpeg: bytes, captured_s: float, meter: CameraMeter) -> None:
        """Send a frame; wait while too many are unacknowledged. `captured_s` is the monotonic clock's time."""
        if len(jpeg) > self._max_message_bytes:
            self._drop(MessageSizeTooLargeError(f"{len(jpeg)} bytes"), meter)
            return
        await self._window.acquire()
        self._begin()
        record: Record = {
            "key": frame.camera.encode(),
            "value": jpeg,
            "headers": frame_headers(frame),
            "timestamp_ms": frame.captured_at_us // _US_PER_MS,
        }
        try:
            acknowledgement = await self._producer.send(self._topic, record)
        except (KafkaError, KafkaUnavailableError) as error:
            self._end()
            self._drop(error, meter)
        except BaseException:
            self._end()
            raise
        else:
            acknowledgement.add_done_callback(partial(self._settle, len(jpeg), captured_s, meter))

    async def drained(self) -> None:
        """Return when the fate of every frame is known."""
        await self._idle.wait()
        self._drops.flush()

    def _begin(self) -> None:
        if not self._unacknowledged:
            self._progress_s = time.monotonic()
            self._idle.clear()
        self._unacknowledged += 1

    def _end(self) -> None:
        self._window.release()
        self._progress_s = time.monotonic()
        self._unacknowledged -= 1
        if not self._unacknowledged:
            self._idle.set()

    def _settle(self, size_bytes: int, captured_s: float, meter: CameraMeter, done: Acknowledgement) -> None:
        self._end()
        if done.cancelled():
            return
        if error := done.exception():
            self._drop(error, meter)
        else:
            meter.published(size_bytes, time.monotonic() - captured_s)

    def _drop(self, error: BaseException, meter: CameraMeter) -> None:
        reason = drop_reason(error)
        meter.dropped("publish", reason)
        self._drops.add(meter.camera, reason, f"{type(error).__name__}: {error}")


def drop_reason(error: BaseException) -> str:
    """A short, stable label for metrics and the camera's status."""
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return "too_large"
    return "kafka_away" if isinstance(error, KafkaUnavailableError) else "refused"
