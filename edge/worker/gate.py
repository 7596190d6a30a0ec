"""Decides which frames of a camera are worth sending, and finds where in them something moved."""

from dataclasses import dataclass

from edge.cameras import Camera
from edge.worker.motion import MotionDetector
from edge.worker.raw import RawFrame
from edge.worker.regions import around
from framematch.core.settings import Box

_GREY_WIDTH_PX = 160  # a hand is 10 pixels wide, and the noise of 12 x 12 pixels of a 1080p picture is averaged
_LEARNING_S = 1.0  # a stream starts with its worst pictures, and what the noise is must be seen first
_ROUNDED_UP = 0.99  # of an interval: times of frames are never exact


@dataclass(frozen=True)
class Look:
    """What the gate saw on one sampled frame.

    `send`: it is worth sending. `moved`: boxes around what moved, largest first, as shares of the picture.
    """

    send: bool
    moved: tuple[Box, ...] = ()


class Gate:
    """One camera's gate, for the frames of one run in their order.

    It sends the first second, every frame with motion, and a frame of a still scene before `keep_alive_s` have passed
    since the last one. Switched off it sends all, and looks for motion where the regions follow it.
    """

    def __init__(self, camera: Camera) -> None:
        self._motion = camera.motion
        self._regions = camera.regions
        self._interval_s = 1 / camera.fps
        self._began_s: float | None = None
        self._sent_s: float | None = None
        watching = camera.motion.gate or camera.regions.mode == "motion"
        self._detector = MotionDetector(camera.masks) if watching else None

    def look(self, raw: RawFrame, at_s: float) -> Look:
        """Look at the frame of time `at_s`, in seconds of a clock that never goes back."""
        if self._detector is None:
            return Look(send=True)
        if self._began_s is None:
            self._began_s = at_s
        change = self._detector.see(raw.grey(_GREY_WIDTH_PX), at_s)
        moving = change.share >= self._motion.min_area
        moved = around(change.blobs, self._regions) if moving else ()
        learning = at_s - self._began_s < _LEARNING_S
        if self._motion.gate and not (moving or learning or self._is_due(at_s)):
            return Look(send=False)
        self._sent_s = at_s
        return Look(send=True, moved=moved)

    def _is_due(self, at_s: float) -> bool:
        """Whether the next frame would be too late for a still scene's keep-alive."""
        if self._sent_s is None:
            return True
        return at_s - self._sent_s > self._motion.keep_alive_s - self._interval_s * _ROUNDED_UP
