"""What every kind of source gives: frames with their times, one after the other."""

from dataclasses import dataclass
from typing import Protocol

from edge.worker.raw import RawFrame


@dataclass(frozen=True)
class Grabbed:
    """A frame that a source delivered.

    `media_s` is its time in the stream, from any start, and None when the stream has no times; `camera_s` its time by
    the camera's own clock, seconds since the epoch, when the camera has said; `damaged` means that it is not to be
    used, and may have no picture.
    """

    media_s: float | None = None
    camera_s: float | None = None
    damaged: bool = False


class Reader(Protocol):
    """One run through a source, used by one thread."""

    def grab(self) -> Grabbed | None:
        """Go to the next frame; None at the end of a finite source.

        Raises:
            CameraUnavailableError: the source failed, timed out, or a live one ended.
        """

    def retrieve(self) -> RawFrame | None:
        """The picture of the grabbed frame; None when it cannot be had. Stays valid after the next `grab`."""

    def close(self) -> None:
        """Free what is open, and tell a camera that we leave."""
