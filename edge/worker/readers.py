"""Opens a source and reads it frame by frame until an error or its end, without retries. Streams: `video.py`."""

import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.cameras import Camera
from edge.sources import image_files
from edge.worker.decoded import PixelFrame
from edge.worker.hardware import SOFTWARE
from edge.worker.jpeg_frame import MAX_PIXELS, decode_jpeg, pixel_frame
from edge.worker.source import GrabbedFrame, MaySkip, RawFrame, Reader
from edge.worker.video import check_file, open_file, open_stream
from framematch.core.errors import CameraUnavailableError, PictureError, UsageError
from framematch.core.units import BYTES_PER_MB
from framematch.pictures.stored import decode_picture

_JPEG_CODES = tuple(cv2.VideoWriter.fourcc(*name) for name in ("MJPG", "JPEG"))

_MAX_IMAGE_BYTES = 500_000_000


def open_reader(camera: Camera, may_skip: MaySkip, *, open_timeout_s: float, read_timeout_s: float) -> Reader:
    """Open the source of `camera`. Frames that `may_skip` need not be decoded.

    Raises:
        CameraUnavailableError: it does not open.
    """
    source = camera.source
    if source.kind == "folder":
        return FolderReader(_images(Path(source.address)), camera.fps)
    if source.kind == "device":
        return DeviceReader(int(source.address), read_timeout_s)
    if source.kind == "file":
        return open_file(
            Path(source.address),
            may_skip=may_skip,
            decode=camera.decode,
            key_frames_only=camera.key_frames_only,
            untagged_colours=camera.untagged_colours,
        )
    return open_stream(
        source.address,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        rtsp_transport=camera.rtsp_transport,
        may_skip=may_skip,
        decode=camera.decode,
        key_frames_only=camera.key_frames_only,
        allowed_hosts=camera.allowed_hosts,
        fps=camera.fps,
        untagged_colours=camera.untagged_colours,
    )


def check_files(cameras: Iterable[Camera]) -> None:
    """Open each video file and read one frame: a file that is no video now will not become one.

    Raises:
        UsageError: a file cannot be decoded.
    """
    for camera in cameras:
        if camera.source.kind != "file":
            continue
        try:
            check_file(Path(camera.source.address))
        except CameraUnavailableError as error:
            raise UsageError(f"camera {camera.id}: {camera.source} {error.message}", hint=error.hint) from None


class DeviceReader:
    """Reads a camera of this machine (V4L2); its frames carry no times.

    JPEGs of a camera are decoded here: OpenCV would fill what is missing with grey, and print libjpeg's warnings.
    """

    decoding = SOFTWARE

    def __init__(self, number: int, read_timeout_s: float) -> None:
        self._read_timeout_s = read_timeout_s
        # OpenCV takes the timeout only from the environment, in whole seconds.
        os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(read_timeout_s))
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraUnavailableError(
                f"the device /dev/video{number} cannot be opened", hint="Is it there, free, and may we read it?"
            )
        self._sends_jpegs = _sends_jpegs(self._capture)

    def grab(self) -> GrabbedFrame | None:
        """Wait for the next frame; a device never ends, it only fails."""
        started_s = time.monotonic()
        if not self._capture.grab():
            late = time.monotonic() - started_s >= self._read_timeout_s
            raise CameraUnavailableError(f"no frame for {self._read_timeout_s:g} s" if late else "the device is gone")
        return GrabbedFrame()

    def retrieve(self) -> RawFrame | None:
        """Decode the grabbed frame."""
        decoded, pixels = self._capture.retrieve()
        if not decoded:
            return None
        return decode_jpeg(pixels.tobytes()) if self._sends_jpegs else PixelFrame(np.asarray(pixels, np.uint8))

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


class FolderReader:
    """Reads images in the given order, `1 / fps` seconds apart; one that cannot be decoded is a damaged frame."""

    decoding = SOFTWARE

    def __init__(self, images: Sequence[Path], fps: float) -> None:
        self._images = images
        self._fps = fps
        self._index = -1
        self._raw: PixelFrame | None = None

    def grab(self) -> GrabbedFrame | None:
        """Decode the next image."""
        self._index += 1
        if self._index >= len(self._images):
            return None
        image = self._images[self._index]
        try:
            self._raw, reason = _decoded_image(image), None
        except PictureError as error:
            self._raw, reason = None, f"{image.name} {error.message}"
        return GrabbedFrame(media_s=self._index / self._fps, damaged=self._raw is None, reason=reason)

    def retrieve(self) -> RawFrame | None:
        """The decoded image."""
        return self._raw

    def close(self) -> None:
        """Nothing stays open."""


def _images(folder: Path) -> list[Path]:
    try:
        return image_files(folder)
    except OSError as error:
        raise CameraUnavailableError(f"cannot be read: {error.strerror}") from None


def _decoded_image(image: Path) -> PixelFrame:
    """Read the file ourselves: a name need not be UTF-8, as a library expects. PictureError if it is not usable."""
    try:
        if image.stat().st_size > _MAX_IMAGE_BYTES:
            raise PictureError("too_many_bytes", f"has more than {_MAX_IMAGE_BYTES // BYTES_PER_MB} MB")
        data = image.read_bytes()
    except OSError as error:
        raise PictureError("unreadable", f"cannot be read: {error.strerror}") from None
    return pixel_frame(decode_picture(data, max_pixels=MAX_PIXELS).pixels)


def _sends_jpegs(capture: cv2.VideoCapture) -> bool:
    """Whether a device sends JPEGs; then it delivers their bytes from now on."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code in _JPEG_CODES and capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
