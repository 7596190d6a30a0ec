"""What all cameras share on the way to Kafka, and what is known of one frame on it."""

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from edge.outbox.connection import Acknowledgement
from edge.outbox.drop_log import DropLog
from edge.outbox.window import Window
from framematch.core.backoff import Backoff
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.records import ProducerRecord
from framematch.core.tracing import Tracer

_US_PER_MS = 1_000
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0


class Account(Protocol):
    """What became of a camera's frames; `edge.stats.CameraStats` is one."""

    camera: str

    def published(self, size_bytes: int, seconds: float) -> None:
        """Kafka acknowledged a frame, `seconds` after it came from its source."""

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Frames were given up at `stage`."""


class Sender(Protocol):
    """What is needed of `edge.outbox.connection.Connection`; tests have one that follows a script."""

    @property
    def connected(self) -> bool:
        """Whether it takes records."""

    async def wait_connected(self) -> None:
        """Return as soon as it does."""

    async def send(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a record at once; the future ends with its acknowledgement, or an error when it was not written."""

    async def send_alone(self, record: ProducerRecord) -> Acknowledgement:
        """The same, in a batch of its own."""


def _backoff() -> Backoff:
    return Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)


@dataclass(frozen=True)
class Way:
    """What all cameras share. `executor` has one thread, which does everything on disk."""

    sender: Sender
    topic: str
    window: Window
    executor: Executor
    drops: DropLog
    max_message_bytes: int
    after_s: float
    tracer: Tracer | None = None
    clock: Callable[[], float] = time.monotonic
    backoff: Callable[[], Backoff] = field(default=_backoff)


@dataclass(eq=False, slots=True)
class Entry:
    """A frame in memory: in flight, or held to be sent again. It has its room in the window until it leaves."""

    number: int
    frame: Frame
    jpeg: bytes
    grabbed_s: float
    encoded_s: float | None  # None: it was on disk, where this is not kept
    sent_s: float = 0.0
    kept_in: int = 0  # generation of the spool that has it too; 0: it is not on disk
    replay: bool = False
    refusals: int = 0
    settled: bool = False

    def record(self, topic: str) -> ProducerRecord:
        """As Kafka gets it."""
        key, at_ms = self.frame.camera.encode(), self.frame.captured_at_us // _US_PER_MS
        return ProducerRecord(topic, key, self.jpeg, frame_headers(self.frame), at_ms)
