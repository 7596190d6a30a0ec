"""Delays between retries."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


def _uniform(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311  # spreads retries, hides nothing


@dataclass(frozen=True)
class EarlyRetries:
    """In the first `for_s` of an outage the ceiling is at most `maximum_s`: most outages are short."""

    maximum_s: float
    for_s: float


class Backoff:
    """Exponential backoff with full jitter: a delay is between 0 and a ceiling that doubles up to `maximum_s`.

    Full jitter spreads the retries of clients that failed together better than a fixed delay plus a random one: AWS
    Architecture Blog, "Exponential Backoff And Jitter" (2015). At the lower ceiling of `early` retries a delay is at
    least half of it, so that many clients whose server is away do not retry more often than they must.
    """

    def __init__(
        self,
        initial_s: float,
        maximum_s: float,
        *,
        early: EarlyRetries | None = None,
        uniform: Callable[[float, float], float] = _uniform,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._initial_s = min(initial_s, maximum_s)
        self._maximum_s = maximum_s
        self._early = early if early is not None and early.maximum_s < maximum_s else None
        self._uniform = uniform
        self._monotonic_s = monotonic_s
        self._ceiling_s = self._initial_s
        self._failed_since_s: float | None = None

    def next_delay_s(self) -> float:
        """The delay before the next retry, in seconds."""
        now_s = self._monotonic_s()
        if self._failed_since_s is None:
            self._failed_since_s = now_s
        if self._early is not None and now_s - self._failed_since_s < self._early.for_s:
            low_s = self._early.maximum_s / 2 if self._ceiling_s >= self._early.maximum_s else 0.0
            maximum_s = self._early.maximum_s
        else:
            low_s, maximum_s = 0.0, self._maximum_s
        delay_s = self._uniform(low_s, min(self._ceiling_s, maximum_s))
        self._ceiling_s = min(self._ceiling_s * 2, maximum_s)
        return delay_s

    def reset(self) -> None:
        """Start again from the initial ceiling, after a success."""
        self._ceiling_s = self._initial_s
        self._failed_since_s = None
