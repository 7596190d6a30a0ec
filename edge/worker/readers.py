"""Opens a source and reads it frame by frame until an error or its end; never tries again by itself."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge.sources import Source, image_files
from edge.worker.encode import Picture
from framematch.core.errors import CameraUnavailableError

_DEFAULT_FPS = 25.0  # of a video that gives neither frame times nor a rate


class Reader(Protocol):
    """One run through a source, used by one thread."""

    def grab(self) -> float | None:
        """Go to the next frame and return its time in seconds, on a clock that never goes back; None at the end.

        Raises:
            CameraUnavailableError: the source failed, timed out, or a live one ended.
        """

    def retrieve(self) -> Picture | None:
        """The pixels of the grabbed frame, [height, width, 3] BGR; None when they cannot be decoded."""

    def close(self) -> None:
        """Free what is open."""


def open_reader(source: Source, *, fps: float, open_timeout_s: float, read_timeout_s: float) -> Reader:
    """Open `source`; a folder's images are `1 / fps` seconds apart.

    Raises:
        CameraUnavailableError: it does not open.
    """
    if source.kind == "folder":
        return FolderReader(image_files(Path(source.address)), fps)
    if source.kind == "file":
        return FileReader(Path(source.address))
    return LiveReader(source, open_timeout_s, read_timeout_s)


class LiveReader:
    """A stream or a device; frame times are those of arrival."""

    def __init__(self, source: Source, open_timeout_s: float, read_timeout_s: float) -> None:
        self._read_timeout_s = read_timeout_s
        if source.kind == "device":
            self._capture = cv2.VideoCapture(int(source.address), cv2.CAP_V4L2)
        else:
            self._capture = cv2.VideoCapture(
                source.address,
                cv2.CAP_FFMPEG,  # named, because timeouts are ignored otherwise
                [
                    *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
                    *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
                    # With several threads the decoder holds one frame back for each of them, and costs more CPU.
                    *(cv2.CAP_PROP_N_THREADS, 1),
                ],
            )
        if not self._capture.isOpened():
            raise CameraUnavailableError("cannot be opened", hint="Check address, credentials and network")

    def grab(self) -> float | None:
        """See `Reader`; a live source has no end, only failures."""
        began_s = time.monotonic()
        grabbed = self._capture.grab()
        now_s = time.monotonic()
        if not grabbed:
            timed_out = now_s - began_s >= self._read_timeout_s
            raise CameraUnavailableError(f"no frame for {self._read_timeout_s:g} s" if timed_out else "stream ended")
        return now_s

    def retrieve(self) -> Picture | None:
        """See `Reader`."""
        return _retrieve(self._capture)

    def close(self) -> None:
        """See `Reader`."""
        self._capture.release()


class FileReader:
    """A video file; frame times are its own."""

    def __init__(self, path: Path) -> None:
        self._last_s: float | None = None
        with ExitStack() as opened:
            try:
                # An open stream, not a name: FFmpeg itself may not open files, see `edge.worker.ffmpeg`.
                stream = opened.enter_context(path.open("rb"))
            except OSError as error:
                raise CameraUnavailableError(f"cannot be read: {error.strerror}") from None
            self._capture = cv2.VideoCapture(
                stream,  # type: ignore[call-overload]  # takes any io.BufferedIOBase, which the stubs don't know
                cv2.CAP_FFMPEG,
                [cv2.CAP_PROP_N_THREADS, 1],
            )
            if not self._capture.isOpened():
                raise CameraUnavailableError("is not a video that can be decoded")
            self._opened = opened.pop_all()
        self._interval_s = 1.0 / (self._capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_FPS)

    def grab(self) -> float | None:
        """See `Reader`. Where a frame carries no time, it follows its predecessor by the video's frame rate."""
        if not self._capture.grab():
            return None
        at_s: float = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._last_s is not None and at_s <= self._last_s:
            at_s = self._last_s + self._interval_s
        self._last_s = at_s
        return at_s

    def retrieve(self) -> Picture | None:
        """See `Reader`."""
        return _retrieve(self._capture)

    def close(self) -> None:
        """See `Reader`."""
        self._capture.release()
        self._opened.close()


class FolderReader:
    """Images of a folder in the order of their names, `1 / fps` seconds apart."""

    def __init__(self, images: Sequence[Path], fps: float) -> None:
        self._images = images
        self._fps = fps
        self._index = -1

    def grab(self) -> float | None:
        """See `Reader`."""
        self._index += 1
        return self._index / self._fps if self._index < len(self._images) else None

    def retrieve(self) -> Picture | None:
        """See `Reader`."""
        picture = cv2.imread(str(self._images[self._index]), cv2.IMREAD_COLOR)
        return None if picture is None else np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Nothing stays open."""


def _retrieve(capture: cv2.VideoCapture) -> Picture | None:
    decoded, picture = capture.retrieve()
    return np.asarray(picture, np.uint8) if decoded else None
