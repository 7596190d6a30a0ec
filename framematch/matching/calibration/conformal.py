"""The limit that a stated share of new scores exceeds, from the scores of a sample. Pure.

When the sample and a new score are exchangeable, so that each order of them is as likely, the new one is above the k-th
lowest of n with the probability (n + 1 - k) / (n + 1) at most, whatever the distribution (Vovk, Gammerman and Shafer,
"Algorithmic learning in a random world", 2005).
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framematch.core.events import SIMILARITY_DIGITS
from framematch.matching.intervals import binomial_cdf

Values: TypeAlias = NDArray[np.float64] | Sequence[float]

_STEPS: Final = 10**SIMILARITY_DIGITS


def allowed(number: int, rate: float, guarantee: float | None = None) -> int:
    """How many of a sample of this size may be above the limit, so that it states the rate; -1: too few for any limit.

    The rate is the expected one; with `guarantee` it is an upper bound that holds with this probability (Tong, Feng and
    Li, "Neyman-Pearson classification algorithms and NP receiver operating characteristics", 2018).
    """
    if guarantee is None:
        return math.floor((number + 1) * Fraction(str(rate))) - 1
    return int(np.searchsorted(binomial_cdf(number, rate), 1 - guarantee, side="right")) - 1


def needed(rate: float, guarantee: float | None = None) -> int:
    """The size of the smallest sample that can state the rate."""
    if guarantee is None:
        return math.ceil(1 / Fraction(str(rate))) - 1
    number = math.floor(math.log(1 - guarantee) / math.log1p(-rate))
    while allowed(number, rate, guarantee) < 0:
        number += 1
    return number


def limit(values: Values, above: int) -> float:
    """The least limit that at most so many of the values reach; there are more values than that.

    It is the next number above them with as many decimals as an event prints, so nobody sees a score that equals its
    limit and yet is refused, and values that are equal are on one side.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    return next_above(float(ordered[len(ordered) - 1 - above]))


def next_above(value: float) -> float:
    """The next number above with `SIMILARITY_DIGITS` decimals; an infinite value stays."""
    if math.isinf(value):
        return value
    step = math.floor(value * _STEPS) + 1
    return step / _STEPS if step / _STEPS > value else (step + 1) / _STEPS
