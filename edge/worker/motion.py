"""Finds what changed in a scene: each pixel against what was there when it last stood still.

A mixture model (OpenCV's MOG2 and KNN) asks whether it has seen a pixel's colour before. It does not report a product
that is put back to where it has lain, and that is what we look for. Here a pixel knows one past alone: its background,
which is replaced when another value has stood still for a while.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.worker.masks import ignored
from edge.worker.raw import Grey
from framematch.core.settings import Box, MaskSettings

_SETTLE_S = 4.0  # what stood still for so long is background: how slow a motion may be, and how long a change is told
_DRIFT_S = 3.0  # time constant with which slow changes of light are followed
_NOISE_S = 2.0  # time constant of the estimate of the noise
_NOISE_TIMES = 5.0  # a pixel has changed when it differs by so many standard deviations of the noise,
_LEAST_CHANGE, _MOST_CHANGE = 8.0, 32.0  # and by grey levels in this range, however quiet or noisy the picture is
_MEDIAN_TO_SIGMA = 1.4826  # of the absolute values of a normal distribution
_WHOLE_SCENE = 0.7  # a change of more than this share is a change of light, or of the view
_LIGHT = 1.25  # a camera's exposure control changes the brightness by less from one look to the next
_WHITE = 255.0
_SPECK_PX = 6  # smaller blobs are noise
_BLOBS = 64
_JOIN = np.ones((3, 3), np.uint8)

_Values = NDArray[np.float32]
_WHOLE: tuple[Box, ...] = ((0.0, 0.0, 1.0, 1.0),)


@dataclass(frozen=True)
class Change:
    """What differs from the background: its share of the picture, and a box around each blob, largest first."""

    share: float
    blobs: tuple[Box, ...]


class MotionDetector:
    """The memory of one camera's scene; all pictures come in the order of their times."""

    def __init__(self, masks: Sequence[MaskSettings] = ()) -> None:
        self._masks = masks
        self._scene: _Scene | None = None

    def see(self, grey: Grey, at_s: float) -> Change:
        """What changed in `grey`, [height, width]; all of it in the first picture, and in the first of another size."""
        values = np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.float32)
        if self._scene is None or self._scene.background.shape != values.shape:
            height, width = values.shape
            masked = cv2.dilate(ignored(self._masks, (width, height)), _JOIN) > 0  # the blur carries one pixel far
            self._scene = _Scene(values, at_s, ~masked)
            return Change(1.0, _WHOLE)
        return self._scene.see(values, at_s)


class _Scene:
    def __init__(self, values: _Values, at_s: float, counted: NDArray[np.bool_]) -> None:
        self._counted = counted
        self._sample = counted[::2, ::2]
        self._at_s = at_s
        self._noise = 0.0
        self._learn(values)

    def _learn(self, values: _Values) -> None:
        self.background = values.copy()
        self._recent = values.copy()
        self._still_s = np.full(values.shape, _SETTLE_S, np.float32)

    def see(self, values: _Values, at_s: float) -> Change:
        passed_s, self._at_s = at_s - self._at_s, at_s
        least_change = min(max(_NOISE_TIMES * self._noise, _LEAST_CHANGE), _MOST_CHANGE)
        if self._sample.any():
            self._relight(values)
            self._measure_noise(values, passed_s)
        self._follow(values, passed_s, least_change)
        changed = (cv2.absdiff(values, self.background) > least_change) & self._counted
        if np.count_nonzero(changed) > _WHOLE_SCENE * np.count_nonzero(self._counted):
            self._learn(values)
            return Change(1.0, _WHOLE)
        return _change(changed)

    def _relight(self, values: _Values) -> None:
        """Change the light of what is remembered as that of the whole picture has changed: exposure is no motion."""
        light = float(np.median((self._sampled(values) + 1) / (self._sampled(self._recent) + 1)))
        if 1 / _LIGHT < light < _LIGHT:
            for remembered in (self.background, self._recent):
                np.minimum(remembered * light, _WHITE, out=remembered)

    def _measure_noise(self, values: _Values, passed_s: float) -> None:
        """Correct the estimate of the noise; the median does not see what moves in less than half of the picture.

        A change of the whole scene, which it does see, is no noise: more than the limits can use is not believed.
        """
        noise = _MEDIAN_TO_SIGMA * float(np.median(np.abs(self._sampled(values) - self._sampled(self._recent))))
        noise = min(noise, _MOST_CHANGE / _NOISE_TIMES)
        self._noise += (noise - self._noise) * _share(passed_s, _NOISE_S)

    def _sampled(self, values: _Values) -> _Values:
        """A quarter of the pixels that count, [pixels]: a median is the most expensive step here."""
        return values[::2, ::2][self._sample]

    def _follow(self, values: _Values, passed_s: float, least_change: float) -> None:
        """Take `values` in: slowly where they are what they were, at once where not, and there not as background."""
        moved = cv2.absdiff(values, self._recent) > least_change
        self._still_s += passed_s
        self._still_s[moved] = 0.0
        cv2.accumulateWeighted(values, self._recent, _share(passed_s, _DRIFT_S))
        np.copyto(self._recent, values, where=moved)
        np.copyto(self.background, self._recent, where=self._still_s >= _SETTLE_S)


def _share(passed_s: float, constant_s: float) -> float:
    """How much of a step an average with this time constant has followed after `passed_s`."""
    return -math.expm1(-passed_s / constant_s)


def _change(changed: NDArray[np.bool_]) -> Change:
    """The share and the blobs of the pixels that changed, without specks."""
    joined = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, _JOIN)
    _, _, found, _ = cv2.connectedComponentsWithStats(joined, connectivity=8, ltype=cv2.CV_32S)
    blobs = found[1:]  # without what did not change
    blobs = blobs[blobs[:, cv2.CC_STAT_AREA] >= _SPECK_PX]
    blobs = blobs[np.argsort(-blobs[:, cv2.CC_STAT_AREA], kind="stable")]
    height, width = changed.shape
    boxes = blobs[:_BLOBS, : cv2.CC_STAT_AREA] / (width, height, width, height)
    return Change(
        int(blobs[:, cv2.CC_STAT_AREA].sum()) / changed.size,
        tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in boxes),
    )
