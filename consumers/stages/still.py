"""Finds pictures that need no inference: they show what one that went through the model has shown already."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from consumers.stages.decode import Pixels
from framematch.core.frames import Region

Signature = NDArray[np.uint8]
"""A picture scaled down to [16, 16, 3], RGB, in which the noise of a camera is averaged away."""
Token = TypeVar("Token")

# Levels of 255. By it, a third of the frames of the demo's feeds are still, and as many products are found as without
# (python -m benchmarks.still); two frames that show different products differ by 107 or more.
STILL_DIFFERENCE = 6
_MAX_BOXES = 4096  # about 1 KB each
_CELLS = 16
_US_PER_S = 1_000_000


def signature_of(crop: Pixels) -> Signature:
    """The signature of RGB uint8 [H, W, 3]."""
    return np.asarray(cv2.resize(crop, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.uint8)


def difference(one: Signature, other: Signature) -> int:
    """The largest difference of any cell in any colour, 0 to 255."""
    return int(cv2.norm(one, other, cv2.NORM_INF))


@dataclass(frozen=True)
class _Inferred(Generic[Token]):
    """A picture that went through the model."""

    signature: Signature
    at_us: int
    token: Token


class StillScenes(Generic[Token]):
    """Remembers, for each camera and box, the last picture that went through the model. No I/O.

    Guarantees: a picture is compared with one that was inferred, never with one that was not, so that a slow drift adds
    up until it is seen; a picture repeats none that was taken more than `max_age_s` before or after it; no more than
    `max_boxes` boxes are remembered, those that were seen last.
    """

    def __init__(self, *, max_age_s: float, threshold: int = STILL_DIFFERENCE, max_boxes: int = _MAX_BOXES) -> None:
        """A scene is still when no cell of its signature differs by more than `threshold`."""
        self._max_age_us = max_age_s * _US_PER_S
        self._threshold = threshold
        self._max_boxes = max_boxes
        self._inferred: OrderedDict[tuple[str, Region], _Inferred[Token]] = OrderedDict()

    def see(self, camera: str, box: Region, signature: Signature, at_us: int, token: Token) -> Token | None:
        """The token of the picture that this one, taken at `at_us`, repeats.

        None: it has to go through the model, and is what the next ones are compared with, under its own `token`.
        """
        key = (camera, box)
        last = self._inferred.get(key)
        if last and self._repeats(signature, at_us, last):
            self._inferred.move_to_end(key)
            return last.token
        self._inferred[key] = _Inferred(signature, at_us, token)
        self._inferred.move_to_end(key)
        if len(self._inferred) > self._max_boxes:
            self._inferred.popitem(last=False)
        return None

    def forget(self, camera: str, box: Region) -> None:
        """The next picture there has to go through the model."""
        self._inferred.pop((camera, box), None)

    def clear(self) -> None:
        """Forget all."""
        self._inferred.clear()

    def _repeats(self, signature: Signature, at_us: int, last: _Inferred[Token]) -> bool:
        near = abs(at_us - last.at_us) <= self._max_age_us
        return near and difference(signature, last.signature) <= self._threshold
