"""Delays between retries."""

import random
from collections.abc import Callable


def _uniform(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311  # spreads retries, hides nothing


class Backoff:
    """Exponential backoff with full jitter: a delay is between 0 and a ceiling that doubles up to `maximum_s`.

    Full jitter spreads the retries of clients that failed together better than a fixed delay plus a random one: AWS
    Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """

    def __init__(
        self, initial_s: float, maximum_s: float, *, uniform: Callable[[float, float], float] = _uniform
    ) -> None:
        self._initial_s = min(initial_s, maximum_s)
        self._maximum_s = maximum_s
        self._uniform = uniform
        self._ceiling_s = self._initial_s

    def next_delay_s(self) -> float:
        """The delay before the next retry, in seconds."""
        delay_s = self._uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._maximum_s)
        return delay_s

    def reset(self) -> None:
        """Start again from the initial ceiling, after a success."""
        self._ceiling_s = self._initial_s
