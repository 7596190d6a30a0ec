"""Reads the images of a folder as if they were a video."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.worker.decoded import PixelFrame
from edge.worker.grabbed import Grabbed
from edge.worker.raw import RawFrame


class FolderReader:
    """Images in the order given, `1 / fps` seconds apart; one that cannot be decoded is a damaged frame."""

    def __init__(self, images: Sequence[Path], fps: float) -> None:
        self._images = images
        self._fps = fps
        self._index = -1
        self._raw: PixelFrame | None = None

    def grab(self) -> Grabbed | None:
        """See `Reader`."""
        self._index += 1
        if self._index >= len(self._images):
            return None
        self._raw = _decoded(self._images[self._index])
        return Grabbed(media_s=self._index / self._fps, damaged=self._raw is None)

    def retrieve(self) -> RawFrame | None:
        """See `Reader`."""
        return self._raw

    def close(self) -> None:
        """Nothing stays open."""


def _decoded(image: Path) -> PixelFrame | None:
    try:
        pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV takes
        return None
    return None if pixels is None else PixelFrame(np.asarray(pixels, np.uint8))
