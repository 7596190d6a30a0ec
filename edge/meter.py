"""Keeps the account of one camera: what became of its frames, and how its source is doing."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge.metrics import EdgeMetrics


@dataclass(frozen=True)
class Reading:
    """The account at one moment. Counts are since the service started; `closed_because` is None while it is open."""

    at_s: float
    source_frames: int
    published: int
    drops: dict[str, int]
    reconnects: int
    last_frame_at_s: float | None
    closed_because: str | None


class CameraMeter:
    """Counts in Prometheus and, for the status, exactly here. Any thread may call; each call is short.

    `on_change` is called, in the calling thread, when the source opens or closes.
    """

    def __init__(
        self,
        camera: str,
        metrics: EdgeMetrics,
        on_change: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.camera = camera
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._source_frames = 0
        self._published = 0
        self._drops: Counter[str] = Counter()
        self._reconnects = 0
        self._last_frame_at_s: float | None = None
        self._closed_because: str | None = "starting"
        self._was_open = False
        self._for_good = False
        self._source_frames_total = metrics.source_frames.labels(camera)
        self._captured_total = metrics.captured.labels(camera)
        self._published_total = metrics.published.labels(camera)
        self._published_bytes_total = metrics.published_bytes.labels(camera)
        self._dropped_total = metrics.dropped
        self._reconnects_total = metrics.reconnects.labels(camera)
        self._up = metrics.camera_up.labels(camera)
        self._publish_seconds = metrics.publish_seconds

    def opened(self) -> None:
        """The source is open. Counts a reconnect when it was before."""
        with self._lock:
            if self._for_good:
                return
            self._closed_because = None
            if self._was_open:
                self._reconnects += 1
                self._reconnects_total.inc()
            self._was_open = True
        self._up.set(1)
        self._on_change()

    def closed(self, reason: str, *, for_good: bool = False) -> None:
        """The source is not open, and why; `reason` is shown to operators and holds no secret.

        After `for_good` nothing changes the state any more, whatever a thread that comes late says.
        """
        with self._lock:
            if self._for_good:
                return
            self._for_good = for_good
            self._closed_because = reason
        self._up.set(0)
        self._on_change()

    def delivered(self) -> None:
        """The source delivered a frame, sampled or not."""
        with self._lock:
            self._source_frames += 1
            self._last_frame_at_s = self._clock()
        self._source_frames_total.inc()

    def captured(self) -> None:
        """The sampler took a frame: from now on it is in flight."""
        self._captured_total.inc()

    def published(self, size_bytes: int, seconds: float) -> None:
        """Kafka acknowledged a frame, `seconds` after its capture."""
        with self._lock:
            self._published += 1
        self._published_total.inc()
        self._published_bytes_total.inc(size_bytes)
        self._publish_seconds.observe(seconds)

    def dropped(self, stage: str, reason: str) -> None:
        """A frame was given up at `stage`."""
        with self._lock:
            self._drops[reason] += 1
        self._dropped_total.labels(self.camera, stage, reason).inc()

    def read(self) -> Reading:
        """All figures of one moment."""
        with self._lock:
            return Reading(
                at_s=self._clock(),
                source_frames=self._source_frames,
                published=self._published,
                drops=dict(self._drops),
                reconnects=self._reconnects,
                last_frame_at_s=self._last_frame_at_s,
                closed_because=self._closed_because,
            )
