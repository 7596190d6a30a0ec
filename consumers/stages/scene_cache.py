"""Finds regions that need no inference: they look like one of the same camera that went through the model."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from framematch.core.frames import Region
from framematch.core.units import US_PER_S
from framematch.vision.preprocess import Pixels

Signature = NDArray[np.uint8]
"""A picture scaled down to [16, 16, 3], RGB, which averages the noise of a camera out."""
Entry = TypeVar("Entry")

# Levels of 255. With it a third of the frames of the demo's feeds are static, and as many products are found as
# without; two frames that show different products differ by 107 or more.
MAX_DIFFERENCE = 6
_MAX_BOXES = 4096  # about 1 KB each
_CELLS = 16


def signature_of(crop: Pixels) -> Signature:
    """The signature of RGB uint8 [H, W, 3]."""
    return np.asarray(cv2.resize(crop, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.uint8)


def difference(one: Signature, other: Signature) -> int:
    """The largest difference of any cell in any colour, 0 to 255."""
    return int(cv2.norm(one, other, cv2.NORM_INF))


@dataclass(frozen=True)
class _Inferred(Generic[Entry]):
    """A region that went through the model."""

    signature: Signature
    at_us: int
    entry: Entry


class StaticSceneCache(Generic[Entry]):
    """An LRU cache of the last region that went through the model, for each camera and box. No I/O.

    Guarantees: a region is compared with one that was inferred, never with one that was not, so that a slow drift adds
    up until it is seen; an entry serves no region captured more than `max_age_s` before or after its own.
    """

    def __init__(self, *, max_age_s: float, max_difference: int = MAX_DIFFERENCE, max_boxes: int = _MAX_BOXES) -> None:
        """A scene is static while no cell of its signature differs by more than `max_difference`."""
        self._max_age_us = max_age_s * US_PER_S
        self._max_difference = max_difference
        self._max_boxes = max_boxes
        self._inferred: OrderedDict[tuple[str, Region], _Inferred[Entry]] = OrderedDict()

    def lookup(self, camera: str, box: Region, signature: Signature, at_us: int, new: Entry) -> Entry | None:
        """The entry of the inferred region that this one, captured at `at_us`, looks like.

        None: the region has to go through the model, and is what later ones are compared with. Its entry is `new`.
        """
        key = (camera, box)
        last = self._inferred.get(key)
        if last and self._hit(signature, at_us, last):
            self._inferred.move_to_end(key)
            return last.entry
        self._inferred[key] = _Inferred(signature, at_us, new)
        self._inferred.move_to_end(key)
        if len(self._inferred) > self._max_boxes:
            self._inferred.popitem(last=False)
        return None

    def invalidate(self, camera: str, box: Region) -> None:
        """The next region there has to go through the model."""
        self._inferred.pop((camera, box), None)

    def _hit(self, signature: Signature, at_us: int, last: _Inferred[Entry]) -> bool:
        near = abs(at_us - last.at_us) <= self._max_age_us
        return near and difference(signature, last.signature) <= self._max_difference
