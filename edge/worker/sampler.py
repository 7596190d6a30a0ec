"""Decides which frames of a camera are sampled: a fixed rate that neither drifts nor bursts."""

import math

# Share of an interval. A frame due at 0.2 s may have time 0.19999 s: container clocks tick in 1/90000 s or coarser.
_ROUNDING = 0.01


class Sampler:
    """Accepts at most one frame in each interval of `1 / fps` seconds, counted from the first frame.

    The intervals are a fixed grid, so the mean rate is exact whatever the source's rate is. Intervals missed in a stall
    stay missed: the next frame is accepted, and the one after it waits for its own interval. A source slower than `fps`
    loses only frames that jitter moves into the interval of their predecessor.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._first_s: float | None = None
        self._last_interval = 0

    def is_due(self, at_s: float) -> bool:
        """Whether `accept` would accept a frame of this time. A frame that is not usable is not accepted afterwards."""
        return self._first_s is None or self._interval(at_s) > self._last_interval

    def is_surely_not_due(self, at_s: float) -> bool:
        """Whether a frame of about this time will not be due, whatever is accepted until it comes.

        Its time may still grow a little, by `CaptureClock`'s drift.
        """
        return self._first_s is not None and self._interval(at_s, 2 * _ROUNDING) <= self._last_interval

    def accept(self, at_s: float) -> bool:
        """Whether to sample the frame of time `at_s`, in seconds of any clock. Earlier times are never accepted."""
        if not self.is_due(at_s):
            return False
        if self._first_s is None:
            self._first_s = at_s
        self._last_interval = self._interval(at_s)
        return True

    def _interval(self, at_s: float, rounding: float = _ROUNDING) -> int:
        first_s = at_s if self._first_s is None else self._first_s
        return math.floor((at_s - first_s) * self._fps + rounding)
