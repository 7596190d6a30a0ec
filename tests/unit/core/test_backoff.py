"""Backoff: ceilings that double up to a maximum, and jitter below them."""

from framematch.core.backoff import Backoff


def ceilings(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_delay_s() for _ in range(count)]


def highest(_low: float, high: float) -> float:
    return high


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    assert ceilings(Backoff(0.5, 5.0, uniform=highest), 6) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_reset_restores_the_initial_ceiling() -> None:
    backoff = Backoff(0.5, 30.0, uniform=highest)
    ceilings(backoff, 5)
    backoff.reset()
    assert backoff.next_delay_s() == 0.5


def test_an_initial_delay_above_the_maximum_is_limited() -> None:
    assert Backoff(9.0, 2.0, uniform=highest).next_delay_s() == 2.0


def test_a_delay_is_anywhere_between_zero_and_the_ceiling() -> None:
    bounds: list[tuple[float, float]] = []

    def middle(low: float, high: float) -> float:
        bounds.append((low, high))
        return (low + high) / 2

    assert ceilings(Backoff(1.0, 8.0, uniform=middle), 3) == [0.5, 1.0, 2.0]
    assert bounds == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0)]


def test_two_cameras_do_not_retry_in_step() -> None:
    one, other = Backoff(1.0, 30.0), Backoff(1.0, 30.0)
    assert ceilings(one, 5) != ceilings(other, 5)
