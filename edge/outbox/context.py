"""What the outboxes of all cameras share, and what an outbox reports to."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from edge.outbox.pending import Window
from edge.outbox.producer import Acknowledgement, RecordProducer
from framematch.core.backoff import Backoff
from framematch.core.kafka.records import ProducerRecord
from framematch.core.tracing import Tracer

log = structlog.get_logger()

REPLAY_SHARE = 0.75
"""Of the window; the rest is for new frames of other cameras. Kafka's latency and this bound the speed of a replay."""
READ_SHARE = 0.25
"""Of a replay's window, for what is being read from disk: one outbox at a time, so that the rest is in flight."""
_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 5.0


class DeliveryStats(Protocol):
    """Counts what became of a camera's frames."""

    def published(self, size_bytes: int, seconds: float) -> None:
        """Kafka acknowledged a frame `seconds` after it was read from its source."""

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Frames were dropped at `stage`."""

    def found(self, count: int) -> None:
        """Frames that these statistics do not know yet are on disk or in memory."""


class FrameProducer(RecordProducer, Protocol):
    """What an outbox needs of `ReconnectingProducer`."""

    @property
    def connected(self) -> bool:
        """Whether it takes records."""

    async def wait_connected(self) -> None:
        """Return as soon as it takes records."""

    async def send_isolated(self, record: ProducerRecord) -> Acknowledgement:
        """Queue a record in a batch of its own."""


class DropLog:
    """Logs dropped frames, at most once in `interval_s`: one line for each camera, reason and error."""

    def __init__(self, interval_s: float = 1.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._next_s = clock()

    def add(self, camera: str, reason: str, error: str, count: int = 1) -> None:
        """Count dropped frames, and log the sums if it is time."""
        self._counts[camera, reason, error] += count
        self.flush_due()

    def flush_due(self) -> None:
        """Log the sums if it is time."""
        if self._counts and self._clock() >= self._next_s:
            self.flush()

    def flush(self) -> None:
        """Log what has not been logged yet."""
        for (camera, reason, error), count in self._counts.items():
            log.warning("frames_dropped", camera=camera, reason=reason, error=error, count=count)
        self._counts.clear()
        self._next_s = self._clock() + self._interval_s


@dataclass(frozen=True)
class OutboxContext:
    """Shared by all outboxes. `executor` has one thread, which makes every call on a spool."""

    producer: FrameProducer
    topic: str
    window: Window
    replay_window: Window
    read_window: Window
    executor: Executor
    drops: DropLog
    max_message_bytes: int
    after_s: float
    tracer: Tracer | None = None
    clock: Callable[[], float] = time.monotonic
    # An empty file is kept for so long: making one takes twenty times as long as writing a frame, so with many cameras
    # that start to spool again and again the disk would not catch up.
    keep_file_s: float = 2.0
    backoff: Callable[[], Backoff] = field(default=partial(Backoff, _FIRST_DELAY_S, _MAX_DELAY_S))
