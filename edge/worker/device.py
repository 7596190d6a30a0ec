"""Reads a camera of this machine (V4L2)."""

import math
import os
import time

import cv2
import numpy as np

from edge.worker.decoded import PixelFrame
from edge.worker.grabbed import Grabbed
from edge.worker.raw import RawFrame
from framematch.core.errors import CameraUnavailableError


class DeviceReader:
    """Frames as they come; a device says no times of its own."""

    def __init__(self, number: int, read_timeout_s: float) -> None:
        self._read_timeout_s = read_timeout_s
        # OpenCV takes it from the environment alone; in whole seconds.
        os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(read_timeout_s))
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraUnavailableError(
                f"the device /dev/video{number} cannot be opened", hint="Is it there, free, and may we read it?"
            )

    def grab(self) -> Grabbed | None:
        """See `Reader`; a device has no end, only failures."""
        began_s = time.monotonic()
        if not self._capture.grab():
            late = time.monotonic() - began_s >= self._read_timeout_s
            raise CameraUnavailableError(f"no frame for {self._read_timeout_s:g} s" if late else "the device is gone")
        return Grabbed()

    def retrieve(self) -> RawFrame | None:
        """See `Reader`."""
        decoded, pixels = self._capture.retrieve()
        return PixelFrame(np.asarray(pixels, np.uint8)) if decoded else None

    def close(self) -> None:
        """See `Reader`."""
        self._capture.release()
