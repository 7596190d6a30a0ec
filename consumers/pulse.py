"""Notices that this process was frozen: by SIGSTOP, a paused container or machine, or a blocked event loop."""

import asyncio
import time
from collections.abc import Callable

_CHECKS = 4  # in the shortest time that counts as frozen


def _now_s() -> float:
    """Goes on while the process, or the machine, sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Pulse:
    """Beats while the process runs. After a pause of `limit_s` or more it stays `frozen` until `reset`.

    Whoever acts on it first after a pause must notice the pause, so everybody who asks lets it beat.
    """

    def __init__(self, limit_s: float, *, clock: Callable[[], float] = _now_s) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._last_s = clock()
        self._frozen_s = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(self._limit_s / _CHECKS)

    def beat(self) -> None:
        """The process runs."""
        now_s = self._clock()
        pause_s, self._last_s = now_s - self._last_s, now_s
        if pause_s >= self._limit_s:
            self._frozen_s = max(self._frozen_s, pause_s)

    def frozen_s(self) -> float:
        """How long the process was frozen since `reset`; 0 when it was not."""
        self.beat()
        return self._frozen_s

    def reset(self) -> None:
        """What followed from the pause was done."""
        self.beat()
        self._frozen_s = 0.0
