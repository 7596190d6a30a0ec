"""Decoded pictures as `RawFrame`s: what libav's decoder gave, and arrays of pixels."""

import threading

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from edge.worker.encode import scale_down, scaled
from edge.worker.raw import Grey, Picture

_QUARTER_TURN = 90


class Scalers(threading.local):
    """libav's scalers of one source, for each thread its own: they keep their tables from frame to frame."""

    def __init__(self) -> None:
        self.grey = VideoReformatter()
        self.colour = VideoReformatter()


class DecodedFrame:
    """A frame of libav's decoder, scaled and converted in one step; it is turned as its metadata say."""

    def __init__(self, frame: av.VideoFrame, scalers: Scalers) -> None:
        self._frame = frame
        self._scalers = scalers
        self._turns = round(frame.rotation / _QUARTER_TURN) % 4  # counterclockwise, as numpy.rot90 has it

    @property
    def size(self) -> tuple[int, int]:
        """See `RawFrame`."""
        size = self._frame.width, self._frame.height
        return size[::-1] if self._turns % 2 else size

    def grey(self, width: int) -> Grey:
        """See `RawFrame`."""
        scale = min(1.0, width / self.size[0])
        return self._converted(self._scalers.grey, scale, "gray")

    def colour(self, max_side: int) -> Picture:
        """See `RawFrame`."""
        scale = min(1.0, max_side / max(self.size))
        return self._converted(self._scalers.colour, scale, "bgr24")

    def _converted(self, scaler: VideoReformatter, scale: float, pixels: str) -> Picture:
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
    """A picture that is there as pixels, `[height, width, 3]` BGR."""

    def __init__(self, pixels: Picture) -> None:
        self._pixels = pixels

    @property
    def size(self) -> tuple[int, int]:
        """See `RawFrame`."""
        height, width = self._pixels.shape[:2]
        return width, height

    def grey(self, width: int) -> Grey:
        """See `RawFrame`."""
        small = scaled(self._pixels, width / self.size[0])
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)

    def colour(self, max_side: int) -> Picture:
        """See `RawFrame`."""
        return scale_down(self._pixels, max_side)
