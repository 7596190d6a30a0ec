"""How well scores tell known products from impostors: the curve of both errors, and its area."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from framematch.matching.calibration.conformal import next_above
from framematch.matching.calibration.scores import Floats, Impostors, Known

POINTS: Final = 100


def auroc(known: Floats, impostors: Floats) -> float | None:
    """The probability that a known score is above an impostor's; a tie counts half. None without one of both."""
    if not len(known) or not len(impostors):
        return None
    ordered = np.sort(impostors)
    below, up_to = np.searchsorted(ordered, known, "left"), np.searchsorted(ordered, known, "right")
    return float((below + up_to).mean() / 2 / len(ordered))


def curve(known: Known, sources: Sequence[Impostors]) -> list[tuple[float, float, float]]:
    """Up to `POINTS` thresholds, ascending; the share of impostors that each accepts, of known pictures it refuses.

    Of several sources the one counts that is accepted most. The points are dense where few impostors are accepted.
    """
    pooled = np.sort(np.concatenate([one.scores[np.isfinite(one.scores)] for one in sources]))[::-1]
    if not len(pooled):
        return []
    ranks = np.unique(np.geomspace(1, len(pooled), POINTS).astype(np.int64)) - 1
    thresholds = sorted({next_above(score) for score in pooled[ranks].tolist()})
    return [
        (
            threshold,
            max(float(np.mean(one.scores >= threshold)) for one in sources),
            float(np.mean(known.scores < threshold)) if len(known) else 0.0,
        )
        for threshold in thresholds
    ]
