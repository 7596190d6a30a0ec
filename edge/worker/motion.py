"""Detects motion: compares each pixel with its background, the value it had when it last was still.

A mixture model (OpenCV's MOG2 and KNN) asks whether it has seen a pixel's colour before, so it misses a product
that is put back where it was. Here each pixel has only one background value, which is replaced when another value has
been still for a while.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.worker.masks import ignored
from framematch.core.arrays import Pixels
from framematch.core.settings import Box, MaskSettings

_SETTLE_S = 4.0  # what is still for so long is background: the slowest motion, and how long a change is reported
_DRIFT_S = 3.0  # time constant with which slow changes of light are followed
_NOISE_S = 2.0  # time constant of the estimate of the noise
_NOISE_SIGMAS = 5.0  # a pixel has changed when it differs by so many standard deviations of the noise,
_CHANGE_MIN, _CHANGE_MAX = 8.0, 32.0  # but the limit is in this range of grey levels, whatever the noise
_MEDIAN_TO_SIGMA = 1.4826  # of the absolute values of a normal distribution
_WHOLE_SCENE = 0.7  # if a larger share of the picture changes, the light or the view has changed
_EXPOSURE_MAX = 1.25  # factor by which exposure control may change the brightness between two pictures
_WHITE = 255.0
_SPECK_PX = 6  # smaller blobs are noise
_BLOBS_MAX = 64
_KERNEL = np.ones((3, 3), np.uint8)

_Values = NDArray[np.float32]
_WHOLE: tuple[Box, ...] = ((0.0, 0.0, 1.0, 1.0),)


@dataclass(frozen=True)
class Change:
    """What differs from the background: its share of the picture, and boxes around the blobs, largest first."""

    share: float
    blobs: tuple[Box, ...]


class MotionDetector:
    """Detects motion in one camera's pictures, which come in the order of their times."""

    def __init__(self, masks: Sequence[MaskSettings] = ()) -> None:
        self._masks = masks
        self._background: _Background | None = None

    def update(self, grey: Pixels, at_s: float) -> Change:
        """What changed in `grey`, [height, width]; all of it in the first picture, and in the first of another size."""
        values = np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.float32)
        if self._background is None or self._background.values.shape != values.shape:
            height, width = values.shape
            masked = cv2.dilate(ignored(self._masks, (width, height)), _KERNEL) > 0  # the blur reaches one pixel far
            self._background = _Background(values, at_s, ~masked)
            return Change(1.0, _WHOLE)
        return self._background.update(values, at_s)


class _Background:
    """The background, a running average, and how long each pixel has been still."""

    def __init__(self, values: _Values, at_s: float, counted: NDArray[np.bool_]) -> None:
        self._counted = counted
        self._sample = counted[::2, ::2]
        self._at_s = at_s
        self._noise = 0.0
        self._reset(values)

    def _reset(self, values: _Values) -> None:
        self.values = values.copy()
        self._recent = values.copy()
        self._still_s = np.full(values.shape, _SETTLE_S, np.float32)

    def update(self, values: _Values, at_s: float) -> Change:
        passed_s, self._at_s = at_s - self._at_s, at_s
        change_min = min(max(_NOISE_SIGMAS * self._noise, _CHANGE_MIN), _CHANGE_MAX)
        if self._sample.any():
            self._follow_exposure(values)
            self._measure_noise(values, passed_s)
        self._follow(values, passed_s, change_min)
        changed = (cv2.absdiff(values, self.values) > change_min) & self._counted
        if np.count_nonzero(changed) > _WHOLE_SCENE * np.count_nonzero(self._counted):
            self._reset(values)
            return Change(1.0, _WHOLE)
        return _describe(changed)

    def _follow_exposure(self, values: _Values) -> None:
        """Scale the remembered values when the brightness of the whole picture changes: exposure is no motion."""
        factor = float(np.median((self._sampled(values) + 1) / (self._sampled(self._recent) + 1)))
        if 1 / _EXPOSURE_MAX < factor < _EXPOSURE_MAX:
            for remembered in (self.values, self._recent):
                np.minimum(remembered * factor, _WHITE, out=remembered)

    def _measure_noise(self, values: _Values, passed_s: float) -> None:
        """Update the estimate of the noise; the median ignores what moves in less than half of the picture.

        A change of the whole scene is no noise: values beyond the limits are cut off.
        """
        noise = _MEDIAN_TO_SIGMA * float(np.median(np.abs(self._sampled(values) - self._sampled(self._recent))))
        noise = min(noise, _CHANGE_MAX / _NOISE_SIGMAS)
        self._noise += (noise - self._noise) * _share(passed_s, _NOISE_S)

    def _sampled(self, values: _Values) -> _Values:
        """A quarter of the unmasked pixels, [pixels]: the median is the most expensive step."""
        return values[::2, ::2][self._sample]

    def _follow(self, values: _Values, passed_s: float, change_min: float) -> None:
        """Remember `values`: averaged where they are still; where they moved at once, and as background only later."""
        moved = cv2.absdiff(values, self._recent) > change_min
        self._still_s += passed_s
        self._still_s[moved] = 0.0
        cv2.accumulateWeighted(values, self._recent, _share(passed_s, _DRIFT_S))
        np.copyto(self._recent, values, where=moved)
        np.copyto(self.values, self._recent, where=self._still_s >= _SETTLE_S)


def _share(passed_s: float, constant_s: float) -> float:
    """The weight of a new value after `passed_s`, in an average with this time constant."""
    return -math.expm1(-passed_s / constant_s)


def _describe(changed: NDArray[np.bool_]) -> Change:
    """The share and the blobs of the pixels that changed, without specks."""
    joined = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, _KERNEL)
    _, _, found, _ = cv2.connectedComponentsWithStats(joined, connectivity=8, ltype=cv2.CV_32S)
    blobs = found[1:]  # the first is what did not change
    blobs = blobs[blobs[:, cv2.CC_STAT_AREA] >= _SPECK_PX]
    blobs = blobs[np.argsort(-blobs[:, cv2.CC_STAT_AREA], kind="stable")]
    height, width = changed.shape
    boxes = blobs[:_BLOBS_MAX, : cv2.CC_STAT_AREA] / (width, height, width, height)
    return Change(
        int(blobs[:, cv2.CC_STAT_AREA].sum()) / changed.size,
        tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in boxes),
    )
