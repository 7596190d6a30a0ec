"""Whether a series grows: its slope, and how far the slope can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Student's t for a 95 % interval, by degrees of freedom from 1 on; two standard errors beyond.
_T95 = (12.7, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
_T95_MANY = 2.0
_LEAST_POINTS = 8
_S_PER_HOUR = 3_600
FLAT_SHARE = 0.01


@dataclass(frozen=True)
class Trend:
    """A straight line through a series: its mean, and its slope an hour with the half width of a 95 % interval."""

    mean: float
    per_hour: float
    uncertainty: float

    @property
    def flat(self) -> bool:
        """Whether the slope cannot be told from zero, or is below one per cent of the mean an hour."""
        return abs(self.per_hour) <= max(self.uncertainty, FLAT_SHARE * self.mean)


def trend_of(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """The least-squares line of `values` over `times_s`.

    Neighbouring values of a process's memory are alike, so there are fewer independent ones than points. The
    uncertainty is that of n (1 - r) / (1 + r) points, where r is the correlation of neighbouring residuals (the usual
    correction for a first-order autoregressive series).

    Raises:
        ValueError: there are too few points, or they are all of the same time.
    """
    times, found = np.asarray(times_s, float), np.asarray(values, float)
    if len(times) < _LEAST_POINTS or np.ptp(times) == 0:
        raise ValueError(f"{len(times)} points do not make a trend")
    centred = times - times.mean()
    spread = float(centred @ centred)
    slope = float(centred @ found) / spread
    residuals = found - found.mean() - slope * centred
    variance = float(residuals @ residuals) / (len(times) - 2)
    independent = _independent(residuals)
    error = math.sqrt(variance / spread * len(times) / independent)
    return Trend(float(found.mean()), _S_PER_HOUR * slope, _S_PER_HOUR * _t95(independent - 2) * error)


def _t95(freedom: float) -> float:
    """Standard errors to either side of a 95 % interval."""
    number = int(freedom)
    return _T95[number - 1] if number <= len(_T95) else _T95_MANY


def _independent(residuals: np.ndarray) -> float:
    """How many independent residuals these are worth; three at least."""
    power = float(residuals @ residuals)
    if power == 0:
        return float(len(residuals))
    correlation = min(max(float(residuals[1:] @ residuals[:-1]) / power, 0.0), 0.999)
    return max(3.0, len(residuals) * (1 - correlation) / (1 + correlation))
