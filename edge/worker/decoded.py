"""The two kinds of `RawFrame`: frames of libav's decoder, and arrays of pixels."""

import threading

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from edge.worker.encode import scale_down, scaled
from framematch.core.arrays import Pixels

_QUARTER_TURN = 90


class Scalers(threading.local):
    """libav's scalers of one source, one set for each thread: they keep their tables from frame to frame."""

    def __init__(self) -> None:
        self.grey = VideoReformatter()
        self.colour = VideoReformatter()


class DecodedFrame:
    """A frame of libav's decoder, scaled and converted in one step, and rotated by its metadata."""

    def __init__(self, frame: av.VideoFrame, scalers: Scalers) -> None:
        self._frame = frame
        self._scalers = scalers
        self._turns = round(frame.rotation / _QUARTER_TURN) % 4  # counterclockwise, as in numpy.rot90

    @property
    def size(self) -> tuple[int, int]:
        """Width and height after the rotation."""
        size = self._frame.width, self._frame.height
        return size[::-1] if self._turns % 2 else size

    def grey(self, width: int) -> Pixels:
        """Scale and convert to brightness."""
        scale = min(1.0, width / self.size[0])
        return self._converted(self._scalers.grey, scale, "gray")

    def colour(self, max_side: int) -> Pixels:
        """Scale and convert to colour."""
        scale = min(1.0, max_side / max(self.size))
        return self._converted(self._scalers.colour, scale, "bgr24")

    def _converted(self, scaler: VideoReformatter, scale: float, pixels: str) -> Pixels:
        width, height = (max(1, round(side * scale)) for side in (self._frame.width, self._frame.height))
        try:
            small = scaler.reformat(
                self._frame, width, height, pixels, interpolation=Interpolation.AREA, threads=1
            ).to_ndarray()
        except av.FFmpegError as error:
            raise ValueError(f"cannot be converted: {error.strerror}") from None
        turned = np.rot90(small, self._turns) if self._turns else small
        return np.ascontiguousarray(turned, np.uint8)


class PixelFrame:
    """A picture that is an array of pixels already, `[height, width, 3]` BGR."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the array."""
        height, width = self._pixels.shape[:2]
        return width, height

    def grey(self, width: int) -> Pixels:
        """Scale, then convert to brightness."""
        small = scaled(self._pixels, width / self.size[0])
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)

    def colour(self, max_side: int) -> Pixels:
        """Scale; it is in colour already."""
        return scale_down(self._pixels, max_side)
