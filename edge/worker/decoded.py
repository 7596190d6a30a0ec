"""The two kinds of `RawFrame`: frames of libav's decoder, and arrays of pixels."""

import gc
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from edge.worker.colours import set_matrix
from edge.worker.display import UPRIGHT, Orientation, display_size, orientation_of
from edge.worker.encode import scale_down, scaled
from edge.worker.fields import FieldSplitter
from framematch.core.arrays import Pixels
from framematch.core.errors import CameraUnavailableError
from framematch.core.settings import UntaggedColours

_CHECKED_SIDE_PX = 16
# For libav's JPEG decoder, which otherwise fills with grey what is missing of a picture, and says nothing.
STRICT = {"err_detect": "explode"}


class Scalers(threading.local):
    """libav's scalers of one source, one set for each thread: they keep their tables from frame to frame."""

    def __init__(self) -> None:
        self.grey = VideoReformatter()
        self.colour = VideoReformatter()


class DecodedFrame:
    """A frame of libav's decoder, converted and scaled to `size` in one step, and then made upright.

    `size` is the width and height in square pixels, before `orientation`.
    """

    def __init__(
        self, frame: av.VideoFrame, scalers: Scalers, size: tuple[int, int], orientation: Orientation = UPRIGHT
    ) -> None:
        self._frame = frame
        self._scalers = scalers
        self._size = size
        self._orientation = orientation

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return self._size[::-1] if self._orientation.transposed else self._size

    def grey(self, width: int) -> Pixels:
        """Scale and convert to brightness."""
        scale = min(1.0, width / self.size[0])
        # Brightness needs no matrix, and with this one swscale uses none.
        return self._converted(self._scalers.grey, scale, "gray", Colorspace.ITU601)

    def colour(self, max_side: int) -> Pixels:
        """Scale and convert to colour."""
        scale = min(1.0, max_side / max(self.size))
        return self._converted(self._scalers.colour, scale, "bgr24")

    def _converted(
        self, scaler: VideoReformatter, scale: float, pixels: str, matrix: Colorspace | None = None
    ) -> Pixels:
        width, height = (max(1, round(side * scale)) for side in self._size)
        try:
            small = scaler.reformat(
                self._frame,
                width,
                height,
                pixels,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                interpolation=Interpolation.AREA,
                threads=1,
            ).to_ndarray()
        except av.FFmpegError as error:
            raise ValueError(f"cannot be converted: {error.strerror}") from None
        return np.ascontiguousarray(self._orientation.apply(np.asarray(small, np.uint8)))


class FrameConverter:
    """Makes pictures of the frames of one decoder. `untagged` is the colour matrix of frames that name none."""

    def __init__(self, codec: str, untagged: UntaggedColours = "auto") -> None:
        # Of HEVC, FFmpeg gives each field as a frame of its own; of all others, both fields in one frame.
        self._fields_apart = codec == "hevc"
        self._untagged = untagged
        self._fields = FieldSplitter()
        self._scalers = Scalers()
        self._pixels = ""  # the format that can be converted
        self._seen: tuple[int, int, int] | None = None  # width, height and rotation
        self._upright_by = UPRIGHT  # frames of which this was seen
        self._holds_frame = False

    def convert(self, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> DecodedFrame:
        """The picture of `frame`, whose pixels are `pixel_aspect` times as wide as high (None: not known).

        Raises:
            CameraUnavailableError: its pixels or colours are of a kind that cannot be converted.
        """
        set_matrix(frame, self._untagged)
        size = display_size(frame.width, frame.height, pixel_aspect)
        orientation = self._orientation(frame)
        if frame.interlaced_frame:
            if not self._fields_apart:
                frame = self._fields.top_field(frame)
            elif size == (frame.width, frame.height):  # nothing says that half of the lines are missing
                size = frame.width, 2 * frame.height
        picture = DecodedFrame(frame, self._scalers, size, orientation)
        if frame.format.name != self._pixels:
            self._check(picture, frame.format.name)
        return picture

    def _orientation(self, frame: av.VideoFrame) -> Orientation:
        """PyAV never frees a frame whose side data was read, until Python looks for cycles: read it of few frames."""
        seen = frame.width, frame.height, frame.rotation
        if seen != self._seen:
            self._seen, self._upright_by = seen, orientation_of(frame)
            self._holds_frame = True
        elif self._holds_frame:  # the one before this, 3 MB of Full HD
            self._holds_frame = False
            gc.collect(1)
        return self._upright_by

    def _check(self, picture: DecodedFrame, pixels: str) -> None:
        """Convert a small copy: where that fails, all pictures would be unreadable, without a reason."""
        try:
            picture.colour(_CHECKED_SIDE_PX)
        except ValueError:
            raise CameraUnavailableError(f"its pictures ({pixels}) are not supported") from None
        self._pixels = pixels


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
