"""What every kind of source delivers: frames with their times, one after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge.worker.hardware import Decoding
from framematch.core.arrays import Pixels

MaySkip = Callable[[float], bool]
"""Whether the frame of this time in the stream is surely not wanted, so that it need not be decoded."""


def skips_nothing(_media_s: float) -> bool:
    """Every frame is wanted."""
    return False


class RawFrame(Protocol):
    """One picture as its decoder left it, not yet converted: each conversion costs as much as decoding.

    Any thread may convert it, one at a time.
    """

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    def grey(self, width: int) -> Pixels:
        """Its brightness, scaled to about `width` pixels across (never enlarged), with the same aspect ratio."""

    def colour(self, max_side: int) -> Pixels:
        """Its colours, scaled so that the longer side is at most `max_side` pixels (never enlarged).

        Raises:
            ValueError: it cannot be converted.
        """


@dataclass(frozen=True)
class GrabbedFrame:
    """A frame that a source delivered.

    `media_s` is its time in the stream, from any start, and None when the stream has no times; `camera_s` is its time
    by the camera's own clock, seconds since the epoch, if the camera reports it. A `damaged` frame must not be used and
    may have no picture; its `media_s` may be out of order. `reason` says what is wrong with it, if the source knows.
    One that is `skipped` was not decoded, because nobody wants it: it has neither picture nor times. A `sign_of_life`
    is no frame: for a while a live source has only sent what gives no picture, such as what lies between key frames.
    """

    media_s: float | None = None
    camera_s: float | None = None
    damaged: bool = False
    reason: str | None = None
    skipped: bool = False
    sign_of_life: bool = False


class Reader(Protocol):
    """Reads a source once, in one thread."""

    @property
    def decoding(self) -> Decoding:
        """What decodes its video; known for sure with the first picture, and hardware may fail later."""

    def grab(self) -> GrabbedFrame | None:
        """Go to the next frame; None at the end of a finite source.

        Raises:
            CameraUnavailableError: the source failed, timed out, or a live one ended.
        """

    def retrieve(self) -> RawFrame | None:
        """The picture of the grabbed frame, None when it cannot be decoded. Stays valid after the next `grab`."""

    def close(self) -> None:
        """Close the source, and end the session with the camera."""
