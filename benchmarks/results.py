"""What a part of a benchmark found, and what it could not find and why."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from benchmarks.harness import Comparison, Figure


@dataclass
class Results:
    """Collected by one part after the other. `at_most` and `at_least` are goals, by the name of a figure."""

    comparisons: list[Comparison] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    at_least: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def add(self, comparison: Comparison, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """Keep a comparison, with the least or the highest ratio wanted."""
        self.comparisons.append(comparison)
        if at_least is not None:
            self.at_least[comparison.name] = at_least
        if at_most is not None:
            self.at_most[comparison.name] = at_most

    def merge(self, part: str, other: Self) -> None:
        """Take over all of `other`; its settings under the name of its part."""
        self.comparisons += other.comparisons
        self.figures |= other.figures
        self.at_least |= other.at_least
        self.at_most |= other.at_most
        self.missing |= other.missing
        self.settings[part] = other.settings


def percentile(values: Sequence[float], percent: int) -> float:
    """The least of `values` that `percent` % of them do not exceed: one that was measured, not one between two.

    Raises:
        statistics.StatisticsError: there are no values.
    """
    if not values:
        raise statistics.StatisticsError("no values")
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]
