"""A process that was frozen notices it, whichever of its tasks runs first."""

import pytest

from consumers.pulse import Pulse


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("pause_s", "frozen_s"), [(0.5, 0.0), (1.0, 1.0), (15.0, 15.0)])
def test_a_pause_counts_from_the_limit_on(pause_s: float, frozen_s: float) -> None:
    clock = Clock()
    pulse = Pulse(1.0, clock=clock)
    clock.now_s += pause_s
    assert pulse.frozen_s() == frozen_s


def test_it_stays_known_until_it_was_acted_on() -> None:
    clock = Clock()
    pulse = Pulse(1.0, clock=clock)
    clock.now_s += 15.0
    pulse.beat()
    clock.now_s += 0.1
    assert pulse.frozen_s() == 15.0
    pulse.reset()
    assert pulse.frozen_s() == 0.0
