"""When a frame was captured: by the camera's clock, by its stream's times, or by our clock when it arrived."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from framematch.core.frames import Clock
from framematch.core.timestamps import now_us
from framematch.core.units import US_PER_S

# Drift between the camera's clock and ours (quartz: 50 ppm, both together 100) that does not count as lag.
_DRIFT_PER_S = 100e-6
# A camera's clock that is further off is wrong: 1970, another time zone, no time server.
_CAMERA_CLOCK_OFF_MAX_S = 10.0
# Capture times may be this far ahead of our clock: Kafka rejects records from the future (by default of over 1 h).
_AHEAD_MAX_US = 60 * US_PER_S
_SLOWEST_PACE = 0.5
_LAG_PATIENCE_S = 3.0


@dataclass(frozen=True)
class FrameTimestamps:
    """The times of one frame, see `edge.link.messages.FrameReady`; `lag_s` is how late it arrived."""

    captured_at_us: int
    grabbed_at_us: int
    grabbed_s: float
    clock: Clock
    lag_s: float

    @property
    def due_s(self) -> float:
        """When it would have arrived without lag, by the monotonic clock: evenly spaced even in bursts of frames."""
        return self.grabbed_s - self.lag_s


class CaptureClock:
    """Gives the frames of one run increasing capture times, also later than `last_captured_us` of the run before.

    The stream's times are mapped to ours by the fastest frame: the anchor is the smallest difference of arrival and
    stream time. It grows slowly (100 ppm), so that jitter vanishes and drift does not add up. A stream time that goes
    back sets a new anchor. The camera's own clock shifts the result by one constant delay, measured once.

    Each time is taken from the wall clock of that moment. When that clock, or the camera's, is set forward, capture
    times follow at once. When it is set back, they advance at half speed until they are right, so no frame is out of
    order: 10 s take 20 s. When they would be more than a minute ahead, they go back this once: Kafka rejects times in
    the future, and the earlier times were wrong.
    """

    def __init__(
        self,
        last_captured_us: int = 0,
        *,
        wall_us: Callable[[], int] = now_us,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_us = wall_us
        self._monotonic_s = monotonic_s
        self._anchor_s: float | None = None
        self._media_s = 0.0
        self._camera_delay_s: float | None = None
        self._delay_measured = False
        self._grabbed_s = 0.0
        self._last_lag_s = 0.0
        self._last_due_s: float | None = None
        self._captured_at_us = last_captured_us

    def due_s(self) -> float:
        """When a frame that arrives now would have arrived without lag, if it lags like the last one."""
        return self._monotonic_s() - self._last_lag_s

    def expected_due_s(self, media_s: float) -> float | None:
        """What `due_s` of a frame of this time in the stream will be, or a little more; None if that is not known yet.

        The anchor may still fall until then, which makes it less.
        """
        if self._anchor_s is None or media_s < self._media_s:
            return None
        return self._anchor_s + media_s

    def timestamps(self, media_s: float | None = None, camera_s: float | None = None) -> FrameTimestamps:
        """The times of the frame that arrived just now.

        Args:
            media_s: its time in the stream, from any start; None when the stream carries no times.
            camera_s: its time by the camera's clock, seconds since the epoch; None while the camera does not report it.
        """
        grabbed_s, grabbed_at_us = self._monotonic_s(), self._wall_us()
        lag_s = self._last_lag_s = 0.0 if media_s is None else self._lag_s(media_s, grabbed_s)
        clock: Clock = "wall" if media_s is None else "rtp"
        right_us = grabbed_at_us - round(lag_s * US_PER_S)
        if media_s is not None and camera_s is not None:
            self._measure_delay(right_us / US_PER_S - camera_s)
            if self._camera_delay_s is not None:
                clock, right_us = "rtcp", right_us - round(self._camera_delay_s * US_PER_S)
        captured_at_us = self._in_order(right_us, grabbed_s - lag_s, grabbed_at_us + _AHEAD_MAX_US)
        self._grabbed_s = grabbed_s
        return FrameTimestamps(captured_at_us, grabbed_at_us, grabbed_s, clock, lag_s)

    def _lag_s(self, media_s: float, grabbed_s: float) -> float:
        difference_s = grabbed_s - media_s
        if self._anchor_s is None:
            self._anchor_s = difference_s
        elif media_s < self._media_s:
            self._anchor_s = difference_s
            self._camera_delay_s = None  # it was measured with the times before
        else:
            drift_s = (grabbed_s - self._grabbed_s) * _DRIFT_PER_S
            self._anchor_s = min(self._anchor_s + drift_s, difference_s)
        self._media_s = media_s
        return difference_s - self._anchor_s

    def _measure_delay(self, delay_s: float) -> None:
        if not self._delay_measured:
            self._delay_measured = True
            self._camera_delay_s = delay_s if abs(delay_s) <= _CAMERA_CLOCK_OFF_MAX_S else None

    def _in_order(self, right_us: int, due_s: float, latest_us: int) -> int:
        """The time since the last frame is measured without lag, so that jitter does not return here."""
        passed_us = 0.0 if self._last_due_s is None else (due_s - self._last_due_s) * US_PER_S
        earliest_us = self._captured_at_us + max(1, round(passed_us * _SLOWEST_PACE))
        self._captured_at_us = max(right_us, earliest_us) if earliest_us <= latest_us else right_us
        self._last_due_s = due_s
        return self._captured_at_us


class LagWatch:
    """Detects a stream that stays behind; a burst after a pause in the network catches up by itself."""

    def __init__(self, max_lag_s: float) -> None:
        self._max_lag_s = max_lag_s
        self._behind_since_s: float | None = None

    def is_behind(self, frame: FrameTimestamps) -> bool:
        """Whether every frame of the last three seconds arrived more than `max_lag_s` late."""
        if frame.lag_s <= self._max_lag_s:
            self._behind_since_s = None
            return False
        if self._behind_since_s is None:
            self._behind_since_s = frame.grabbed_s
        return frame.grabbed_s - self._behind_since_s >= _LAG_PATIENCE_S
