"""When a frame was taken: by the camera's clock, by the pace of its stream, or by ours when it came."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from framematch.core.frames import Clock
from framematch.core.timestamps import now_us

_US = 1_000_000
# The camera's clock may run apart from ours by so much (quartz: 50 ppm, both together 100) before it counts as lag.
_FORGET_PER_S = 100e-6
# A camera's clock that is further from ours is wrong: 1970, another time zone, no time server.
_CAMERA_CLOCK_OFF_MAX_S = 10.0
# No capture time lies further ahead of our clock: Kafka refuses records from the future (by default, of more than 1 h).
_AHEAD_MAX_US = 60 * _US
_SLOWEST_PACE = 0.5
_LAG_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Stamp:
    """The times of one frame: see `edge.link.messages.FrameReady`; `lag_s` is how long it was on its way in excess."""

    captured_at_us: int
    grabbed_at_us: int
    grabbed_s: float
    clock: Clock
    lag_s: float

    @property
    def due_s(self) -> float:
        """When it would have come without lag, by the monotonic clock: evenly spaced even if frames come in bursts."""
        return self.grabbed_s - self.lag_s


class CaptureClock:
    """Gives the frames of one run their times, which never go back: not behind `last_captured_us` of a run before.

    The stream's own times are laid upon ours where frames come fastest: the smallest difference of arrival and stream
    time, slowly forgotten (100 ppm), so that jitter vanishes and drift does not add up. A stream time that goes back
    starts this anew. What the camera says about its own clock moves all this by one constant, measured once.

    Each frame's time is taken from the wall clock as it is then. When that, or the camera's, is set forward, frame
    times follow at once. When it is set back, they go on at half speed until they are right: no frame is out of order,
    and ten seconds are worked off in twenty. When it is set back so far that they would lie more than a minute ahead of
    it, those before were wrong, and they go back this once: a time in the future helps nobody, and Kafka refuses it.
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
        self._camera_asked = False
        self._grabbed_s = 0.0
        self._due_s: float | None = None
        self._captured_at_us = last_captured_us

    def stamp(self, media_s: float | None = None, camera_s: float | None = None) -> Stamp:
        """The times of the frame that came just now.

        Args:
            media_s: its time in the stream, from any start; None when the stream carries no times.
            camera_s: its time by the camera's clock, seconds since the epoch; None while the camera has not said.
        """
        grabbed_s, grabbed_at_us = self._monotonic_s(), self._wall_us()
        lag_s = 0.0 if media_s is None else self._lag_s(media_s, grabbed_s)
        clock: Clock = "wall" if media_s is None else "rtp"
        right_us = grabbed_at_us - round(lag_s * _US)
        if media_s is not None and camera_s is not None:
            self._learn_delay(right_us / _US - camera_s)
            if self._camera_delay_s is not None:
                clock, right_us = "rtcp", right_us - round(self._camera_delay_s * _US)
        captured_at_us = self._in_order(right_us, grabbed_s - lag_s, grabbed_at_us + _AHEAD_MAX_US)
        self._grabbed_s = grabbed_s
        return Stamp(captured_at_us, grabbed_at_us, grabbed_s, clock, lag_s)

    def _lag_s(self, media_s: float, grabbed_s: float) -> float:
        difference_s = grabbed_s - media_s
        if self._anchor_s is None:
            self._anchor_s = difference_s
        elif media_s < self._media_s:
            self._anchor_s = difference_s
            self._camera_delay_s = None  # what the camera said was about the times before
        else:
            forgotten_s = (grabbed_s - self._grabbed_s) * _FORGET_PER_S
            self._anchor_s = min(self._anchor_s + forgotten_s, difference_s)
        self._media_s = media_s
        return difference_s - self._anchor_s

    def _learn_delay(self, delay_s: float) -> None:
        if not self._camera_asked:
            self._camera_asked = True
            self._camera_delay_s = delay_s if abs(delay_s) <= _CAMERA_CLOCK_OFF_MAX_S else None

    def _in_order(self, right_us: int, due_s: float, latest_us: int) -> int:
        """What passed is measured without lag, so that jitter does not come back by this way."""
        passed_us = 0.0 if self._due_s is None else (due_s - self._due_s) * _US
        earliest_us = self._captured_at_us + max(1, round(passed_us * _SLOWEST_PACE))
        self._captured_at_us = max(right_us, earliest_us) if earliest_us <= latest_us else right_us
        self._due_s = due_s
        return self._captured_at_us


class LagWatch:
    """Tells when a stream is behind for good: a burst after a pause in the network catches up by itself."""

    def __init__(self, max_lag_s: float) -> None:
        self._max_lag_s = max_lag_s
        self._behind_since_s: float | None = None

    def behind(self, stamp: Stamp) -> bool:
        """Whether every frame of the last three seconds came more than `max_lag_s` late."""
        if stamp.lag_s <= self._max_lag_s:
            self._behind_since_s = None
            return False
        if self._behind_since_s is None:
            self._behind_since_s = stamp.grabbed_s
        return stamp.grabbed_s - self._behind_since_s >= _LAG_PATIENCE_S
