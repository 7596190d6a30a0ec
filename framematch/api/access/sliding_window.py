"""Counts what somebody used in the last minute, or any other time: a sliding window of two counters.

What was used in the fixed window before counts by the part of it that the sliding window still covers.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

OWNERS_MAX = 10_000
_ROUNDING = 1e-6  # of a request: whoever waits as long as he was told is not refused


@dataclass
class _Counters:
    """What one owner used in the fixed window `number`, and in the one before."""

    number: int
    current: int = 0
    before: int = 0


@dataclass(frozen=True)
class Budget:
    """What is left of a limit. `wait_s` is 0 if it sufficed, else the time after which it does if nobody uses it."""

    limit: int
    remaining: int
    wait_s: float
    reset_s: float

    @property
    def suffices(self) -> bool:
        """Whether the cost was taken."""
        return self.wait_s == 0


class SlidingWindow:
    """Limits what each owner uses within `window_s`. The owners that were silent longest are forgotten."""

    def __init__(
        self, window_s: float = 60.0, owners_max: int = OWNERS_MAX, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._window_s = window_s
        self._owners_max = owners_max
        self._monotonic_s = monotonic_s
        self._counters: OrderedDict[str, _Counters] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counters)

    def take(self, owner: str, limit: int, cost: int = 1) -> Budget:
        """Take `cost` if the limit allows it; else nothing is taken. A cost above the limit counts as the limit."""
        counters, elapsed = self._counters_of(owner)
        cost = min(cost, limit)
        wait_s = self._wait_s(counters, elapsed, limit - cost)
        if wait_s == 0:
            counters.current += cost
        return Budget(limit, self._remaining(counters, elapsed, limit), wait_s, self._reset_s(counters, elapsed))

    def look(self, owner: str, limit: int, cost: int = 1) -> Budget:
        """The same without taking anything."""
        if owner not in self._counters:
            return Budget(limit, limit, 0.0, 0.0)
        counters, elapsed = self._counters_of(owner)
        wait_s = self._wait_s(counters, elapsed, limit - min(cost, limit))
        return Budget(limit, self._remaining(counters, elapsed, limit), wait_s, self._reset_s(counters, elapsed))

    def _counters_of(self, owner: str) -> tuple[_Counters, float]:
        """The counters of this moment, and which part of the fixed window has passed."""
        number, elapsed = divmod(self._monotonic_s() / self._window_s, 1.0)
        counters = self._counters.setdefault(owner, _Counters(int(number)))
        self._counters.move_to_end(owner)
        if len(self._counters) > self._owners_max:
            self._counters.popitem(last=False)
        if passed := int(number) - counters.number:
            counters.before = counters.current if passed == 1 else 0
            counters.current = 0
            counters.number = int(number)
        return counters, elapsed

    def _wait_s(self, counters: _Counters, elapsed: float, at_most: int) -> float:
        """When what counts is `at_most`, if nothing more is used."""
        used = counters.before * (1 - elapsed) + counters.current
        if used <= at_most + _ROUNDING:
            return 0.0
        if counters.current <= at_most:  # still in this fixed window
            return (1 - (at_most - counters.current) / counters.before - elapsed) * self._window_s
        return (1 - elapsed + 1 - at_most / counters.current) * self._window_s

    def _remaining(self, counters: _Counters, elapsed: float, limit: int) -> int:
        return max(0, int(limit - counters.before * (1 - elapsed) - counters.current))

    def _reset_s(self, counters: _Counters, elapsed: float) -> float:
        """When the whole limit is available again, if nothing more is used."""
        return self._wait_s(counters, elapsed, 0)
