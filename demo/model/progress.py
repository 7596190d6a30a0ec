"""Prints the progress of a training run every half minute."""

import time
from collections.abc import Callable

from demo.model.recipe import Recipe

_REPORT_EVERY_S = 30.0


class Every:
    """A timer: true when `interval_s` have passed since it was last true, or created."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._last = clock()

    def __call__(self) -> bool:
        """Whether the interval has passed."""
        now = self._clock()
        if now - self._last < self._interval_s:
            return False
        self._last = now
        return True


class Progress:
    """Prints step, loss, speed and the remaining time at this speed (a later phase with larger pictures is slower)."""

    def __init__(self, recipe: Recipe, first: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._recipe = recipe
        self._clock = clock
        self._due = Every(_REPORT_EVERY_S, clock)
        self._since, self._since_step = clock(), first
        self._losses: list[float] = []

    def count(self, step: int, loss: float) -> None:
        """Count the finished step number `step`."""
        self._losses.append(loss)
        if not self._due():
            return
        now, done = self._clock(), step + 1
        steps_per_s = (done - self._since_step) / (now - self._since)
        print(
            f"step {done}/{self._recipe.steps}  {self._recipe.side_px(step)} px  "
            f"loss {sum(self._losses) / len(self._losses):.3f}  {steps_per_s * self._recipe.batch:.0f} pictures/s  "
            f"{(self._recipe.steps - done) / steps_per_s / 60:.0f} min left",
            flush=True,
        )
        self._since, self._since_step, self._losses = now, done, []
