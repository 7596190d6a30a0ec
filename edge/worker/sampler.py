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

    def accept(self, at_s: float) -> bool:
        """Whether to take the frame of time `at_s`, in seconds of any clock that never goes back."""
        if self._first_s is None:
            self._first_s = at_s
            return True
        interval = math.floor((at_s - self._first_s) * self._fps + _ROUNDING)
        if interval <= self._last_interval:
            return False
        self._last_interval = interval
        return True
