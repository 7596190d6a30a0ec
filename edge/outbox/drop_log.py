"""Logs dropped frames at most once a second, however many there are."""

import time
from collections import Counter
from collections.abc import Callable

import structlog

log = structlog.get_logger()


class DropLog:
    """Adds up drops and writes one line for each camera and reason, `interval_s` seconds apart or more."""

    def __init__(self, interval_s: float = 1.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._next_s = clock()

    def add(self, camera: str, reason: str, error: str, count: int = 1) -> None:
        """Count drops; write what has added up when it is time."""
        self._counts[camera, reason, error] += count
        self.flush_due()

    def flush_due(self) -> None:
        """Write what has added up, if it is time."""
        if self._counts and self._clock() >= self._next_s:
            self.flush()

    def flush(self) -> None:
        """Write what has not been written yet."""
        for (camera, reason, error), count in self._counts.items():
            log.warning("frames_dropped", camera=camera, reason=reason, error=error, count=count)
        self._counts.clear()
        self._next_s = self._clock() + self._interval_s
