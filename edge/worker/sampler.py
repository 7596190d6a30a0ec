"""Decides which frames of a camera are taken: a fixed rate that neither drifts nor bursts."""

import math

# Share of an interval. A frame due at 0.2 s may carry 0.19999 s: container clocks tick in 1/90000 s or coarser.
_ROUNDING = 0.01


class Sampler:
    """Takes at most one frame of each interval of `1 / fps` seconds, counted from the first frame.

    The intervals lie on a fixed grid, so the mean rate is exact whatever the source's rate is. After a stall the missed
    intervals stay missed: the next frame is taken, and the one after it has to wait for its own interval. A source
    slower than `fps` loses at most the frames that jitter puts into one interval with their predecessor.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._first_s: float | None = None
        self._last_interval = 0

    def due(self, at_s: float) -> bool:
        """Whether `accept` would take it; for a frame that cannot be used, so that the next one takes its place."""
        return self._first_s is None or self._interval(at_s) > self._last_interval

    def accept(self, at_s: float) -> bool:
        """Whether to take the frame of time `at_s`, in seconds of any clock; what goes back is not taken."""
        if not self.due(at_s):
            return False
        if self._first_s is None:
            self._first_s = at_s
        self._last_interval = self._interval(at_s)
        return True

    def _interval(self, at_s: float) -> int:
        first_s = at_s if self._first_s is None else self._first_s
        return math.floor((at_s - first_s) * self._fps + _ROUNDING)
