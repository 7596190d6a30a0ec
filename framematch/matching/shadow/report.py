"""The report on a shadow snapshot: shares with their confidence intervals, from what the consumers counted. Pure."""

import math
from dataclasses import dataclass

from framematch.matching.intervals import ClusterSums, Interval, clustered, wilson
from framematch.matching.shadow.counts import Change, ShadowCounts

MIN_MINUTES = 30
"""Camera-minutes without which no share is stated: an interval from fewer clusters is no help."""


@dataclass(frozen=True)
class ShadowReport:
    """What consumers counted for a pair of snapshots."""

    active: str
    shadow: str
    counts: ShadowCounts

    @property
    def offered(self) -> int:
        """The regions of the sampled frames: those that were compared, dropped, or failed."""
        return self.counts.regions + self.counts.dropped + self.counts.failed

    @property
    def dropped_share(self) -> float:
        """The share of regions that the shadow was too slow for, or failed on."""
        return 1 - self.counts.regions / self.offered if self.offered else 0.0

    @property
    def enough(self) -> bool:
        """Whether there are enough camera-minutes to state a share."""
        return self.counts.minutes >= MIN_MINUTES

    def share(self, change: Change) -> Interval | None:
        """The share of regions with a change. Its interval takes camera-minutes to be independent of each other.

        None when there are not enough of them.
        """
        if not self.enough:
            return None
        sums = self.counts.of_change(change)
        return clustered(
            ClusterSums(
                clusters=self.counts.minutes,
                with_positive=sums.minutes,
                with_negative=self.counts.minutes - sums.full_minutes,
                observations=self.counts.regions,
                positive=sums.regions,
                squares=self.counts.squares,
                positive_squares=sums.squares,
                products=sums.products,
            )
        )

    def naive_share(self, change: Change) -> Interval | None:
        """The same as if all regions were independent of each other: too narrow. None without regions."""
        regions = self.counts.regions
        return wilson(self.counts.of_change(change).regions / regions, regions) if regions else None

    @property
    def mean_shift(self) -> float | None:
        """By how much the shadow's similarity of the best product is higher, on average; None without regions."""
        shift = self.counts.shift
        return shift.total / shift.regions if shift.regions else None

    @property
    def shift_deviation(self) -> float | None:
        """The standard deviation of that difference."""
        shift, mean = self.counts.shift, self.mean_shift
        return None if mean is None else math.sqrt(max(0.0, shift.squares / shift.regions - mean**2))
