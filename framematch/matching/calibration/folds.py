"""One picture for each independent unit, in an order from which folds are dealt. Pure."""

import hashlib
from collections.abc import Sequence
from typing import Final

from framematch.matching.calibration.samples import ScoredSample

FOLDS: Final = 10


def independent(samples: Sequence[ScoredSample]) -> list[ScoredSample]:
    """One picture for each product and group, in an order and by a choice that only their names decide."""
    units: dict[tuple[str, str, str], list[ScoredSample]] = {}
    for sample in samples:
        label = sample.label
        units.setdefault((label.kind, label.product_id or "", label.group), []).append(sample)
    numbers = {unit: int.from_bytes(hashlib.sha256("\0".join(unit).encode()).digest()[:8]) for unit in units}
    return [units[unit][number % len(units[unit])] for unit, number in sorted(numbers.items(), key=lambda one: one[1])]
