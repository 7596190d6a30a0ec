"""Decides which frames of a camera are worth sending, and finds where in them something moved."""

from dataclasses import dataclass

from edge.cameras import Camera
from edge.worker.motion import MotionDetector
from edge.worker.regions import around
from edge.worker.source import RawFrame
from framematch.core.settings import Box

_GREY_WIDTH_PX = 160  # a hand is 10 pixels wide; noise is averaged over 12 x 12 pixels of a 1080p picture
_LEARNING_S = 1.0  # a stream starts with its worst pictures, and the noise is not known yet
_INTERVAL_SHARE = 0.99  # frame times are never exact


@dataclass(frozen=True)
class GateDecision:
    """Whether to send a sampled frame, and the boxes around what moved, largest first, as shares of the picture."""

    send: bool
    moved: tuple[Box, ...] = ()


class Gate:
    """One camera's motion gate, for the frames of one run in their order.

    It passes the first second, every frame with motion, and a frame of a still scene before `keep_alive_s` have passed
    since the last one. Switched off it passes all frames, and detects motion only if the regions follow it.
    """

    def __init__(self, camera: Camera) -> None:
        self._motion = camera.motion
        self._regions = camera.regions
        self._interval_s = 1 / camera.fps
        self._started_s: float | None = None
        self._sent_s: float | None = None
        detects = camera.motion.gate or camera.regions.mode == "motion"
        self._detector = MotionDetector(camera.masks) if detects else None

    def evaluate(self, raw: RawFrame, at_s: float) -> GateDecision:
        """Decide about the frame of time `at_s`, in seconds of a clock that never goes back."""
        if self._detector is None:
            return GateDecision(send=True)
        if self._started_s is None:
            self._started_s = at_s
        change = self._detector.update(raw.grey(_GREY_WIDTH_PX), at_s)
        moving = change.share >= self._motion.min_area
        moved = around(change.blobs, self._regions) if moving else ()
        learning = at_s - self._started_s < _LEARNING_S
        if self._motion.gate and not (moving or learning or self._needs_keep_alive(at_s)):
            return GateDecision(send=False)
        self._sent_s = at_s
        return GateDecision(send=True, moved=moved)

    def _needs_keep_alive(self, at_s: float) -> bool:
        """Whether the next frame would be too late for the keep-alive of a still scene."""
        if self._sent_s is None:
            return True
        return at_s - self._sent_s > self._motion.keep_alive_s - self._interval_s * _INTERVAL_SHARE
