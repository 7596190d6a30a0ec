"""Whether what cameras see now still has the similarities that a snapshot was calibrated by. Pure.

How many strangers a camera sees, and how many empty scenes, is its own matter: calibrated rates are shares of strangers
and shares of known products, and hold for any mixture of them. So a camera is compared with the mixture of the
calibration's impostors and known pictures that fits it best, and only where similarities are as high as those of the
upper half of impostors: what is lower is never accepted, and most of it is an empty scene.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint
from framematch.core.units import US_PER_S

Floats = NDArray[np.float64]

PSI_LIMIT: Final = 0.25
"""A population stability index above this is a shift by the usual reading: of the sum over the bins of
(live - expected) * ln(live / expected)."""
MIN_REGIONS: Final = 200
WINDOW_REGIONS: Final = 500
GROWTH_LIMIT: Final = 1.2
"""So many times the products: a stranger has as many more chances to resemble one."""

_BINS: Final = 10
_BY_CHANCE: Final = 27.9  # PSI times the number of pictures is chi-squared distributed: 99.9 % for 9 degrees of freedom
_VALID_AGAIN: Final = 0.6  # of the limit, so that a camera at the limit does not change again and again
_JUDGED_EVERY: Final = 10
_FLOOR_SHARE: Final = 0.5  # of impostors
_PRIOR: Final = 0.5  # pictures in each bin before the first one, so that no share is 0
_MIXTURES: Final = np.linspace(0, 1, 51)[:, None]
_AGAIN_US: Final = 60 * US_PER_S
_PRODUCTS: Final = 256
_MIN_POINTS: Final = 20  # of a curve, for ten bins


@dataclass(frozen=True, eq=False)
class ScoreReference:
    """What a calibration expects of similarities from `floor` on.

    `edges` float64 [B - 1] divide them into bins, `mixtures` float64 [51, B] are the shares of the bins for mixtures
    from impostors alone to known products alone. `pictures` is how many of them the shares rest on, of each kind.
    """

    floor: float
    edges: Floats
    mixtures: Floats
    pictures: float

    def psi(self, counts: Floats) -> float:
        """The smallest index of these counts [B] against any mixture."""
        live = (counts + _PRIOR) / (counts.sum() + _PRIOR * len(counts))
        return float(((live - self.mixtures) * np.log(live / self.mixtures)).sum(axis=1).min())

    def limit(self, regions: float) -> float:
        """The index that so many regions of a camera whose mixture fits exceed once in a thousand times, or 0.25."""
        return max(PSI_LIMIT, _BY_CHANCE * (1 / regions + 1 / self.pictures))


def reference_of(calibration: Calibration) -> ScoreReference | None:
    """The reference of a calibration; None when its curve has too few points to tell."""
    points = _ascending(calibration.curve)
    if len(points) < _MIN_POINTS or points[0].accepted < _FLOOR_SHARE:
        return None
    thresholds, accepted, kept = (
        np.array(values)
        for values in zip(*((point.threshold, point.accepted, 1 - point.refused) for point in points), strict=True)
    )
    floor = float(np.interp(-_FLOOR_SHARE, -accepted, thresholds))
    at_floor = [float(np.interp(floor, thresholds, share)) for share in (accepted, kept)]
    if min(at_floor) <= 0:
        return None
    above = thresholds >= floor
    impostors, known = accepted[above] / at_floor[0], kept[above] / at_floor[1]
    both = (impostors + known) / 2
    wanted = np.arange(1, _BINS) / _BINS
    edges = np.unique(np.interp(-wanted[::-1], -both, thresholds[above]))
    shares = np.stack([_shares(edges, thresholds[above], one) for one in (impostors, known)])
    pictures = calibration.samples * min(at_floor)
    smooth = (shares * pictures + _PRIOR) / (pictures + _PRIOR * shares.shape[1])
    return ScoreReference(floor, edges, (1 - _MIXTURES) * smooth[0] + _MIXTURES * smooth[1], pictures)


def _ascending(curve: Iterable[CurvePoint]) -> list[CurvePoint]:
    return sorted(curve, key=lambda point: point.threshold)


def _shares(edges: Floats, thresholds: Floats, survival: Floats) -> Floats:
    """The share of each bin, from the share that is at least as high as each threshold."""
    at_edges = np.interp(edges, thresholds, survival)
    return np.clip(np.diff(np.concatenate([[0.0], 1 - at_edges, [1.0]])), 0, None)


@dataclass(frozen=True)
class Observation:
    """A decided region: its similarity, the product that is most similar, and when the frame came."""

    score: float
    product_id: str
    at_us: int


class CameraScores:
    """The similarities that one camera gave lately, at least 200 before it is judged.

    A product counts at most once a minute: a thing that stays in view is one observation, not one for each frame.
    Older observations lose half of their weight whenever the window is full.
    """

    def __init__(self, reference: ScoreReference) -> None:
        self._reference = reference
        self._edges = reference.edges.tolist()  # a list is searched ten times as fast as so short an array
        self._counts = [0.0] * (len(self._edges) + 1)
        self._regions = 0.0
        self._counted_at_us: dict[str, int] = {}
        self._since_judged = 0
        self.is_stale = False
        self.psi: float | None = None
        """As of the last judgement; None before the first one."""

    def observe(self, found: Observation) -> None:
        """Count a region, and judge the camera now and then."""
        before_us = self._counted_at_us.get(found.product_id)
        if found.score < self._reference.floor or (before_us is not None and abs(found.at_us - before_us) < _AGAIN_US):
            return
        self._remember(found)
        self._counts[bisect_right(self._edges, found.score)] += 1
        self._regions += 1
        self._since_judged += 1
        if self._regions >= MIN_REGIONS and self._since_judged >= _JUDGED_EVERY:
            self._judge()
        if self._regions >= WINDOW_REGIONS:
            self._counts = [count / 2 for count in self._counts]
            self._regions /= 2

    def _judge(self) -> None:
        self._since_judged = 0
        self.psi = self._reference.psi(np.array(self._counts))
        limit = self._reference.limit(self._regions)
        self.is_stale = self.psi > (limit * _VALID_AGAIN if self.is_stale else limit)

    def _remember(self, found: Observation) -> None:
        self._counted_at_us.pop(found.product_id, None)
        self._counted_at_us[found.product_id] = found.at_us
        if len(self._counted_at_us) > _PRODUCTS:
            del self._counted_at_us[next(iter(self._counted_at_us))]
