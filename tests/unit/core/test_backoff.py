"""Backoff: ceilings that double up to a maximum, and jitter below them."""

import itertools

import pytest

from framematch.core.backoff import Backoff, EarlyRetries


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


EARLY = EarlyRetries(maximum_s=4.0, for_s=60.0)


def outage(backoff_max_s: float = 30.0, *, attempt_s: float = 1.0) -> list[tuple[float, float, float]]:
    """When each retry of an outage of five minutes was decided, and between which delays."""
    now_s = 0.0
    found = []

    def longest(low: float, high: float) -> float:
        found.append((now_s, low, high))
        return high

    backoff = Backoff(0.5, backoff_max_s, early=EARLY, uniform=longest, monotonic_s=lambda: now_s)
    while now_s < 300.0:
        now_s += backoff.next_delay_s() + attempt_s
    return found


def test_in_the_first_minute_the_ceiling_stays_low_and_then_doubles_to_the_maximum() -> None:
    highs = [high for _, _, high in outage()]
    early = [high for at_s, _, high in outage() if at_s < EARLY.for_s]
    assert early[:4] == [0.5, 1.0, 2.0, 4.0]
    assert set(early[3:]) == {4.0}
    assert highs[len(early) : len(early) + 4] == [4.0, 8.0, 16.0, 30.0]
    assert set(highs[len(early) + 3 :]) == {30.0}


def test_many_that_are_away_together_wait_for_at_least_half_of_the_low_ceiling() -> None:
    assert {low for at_s, low, high in outage() if high == 4.0 and at_s < EARLY.for_s} == {2.0}
    assert {low for at_s, low, _ in outage() if at_s >= EARLY.for_s} == {0.0}


@pytest.mark.parametrize("attempt_s", [0.0, 5.0])
def test_whatever_answers_again_within_a_minute_is_tried_within_seconds(attempt_s: float) -> None:
    tried_s = [at_s for at_s, *_ in outage(attempt_s=attempt_s) if at_s <= EARLY.for_s]
    assert max(after - before for before, after in itertools.pairwise(tried_s)) <= EARLY.maximum_s + attempt_s


def test_a_maximum_below_the_early_one_holds_from_the_start() -> None:
    assert max(high for _, _, high in outage(2.0)) == 2.0


def test_each_outage_has_its_first_minute() -> None:
    now_s = 0.0
    backoff = Backoff(0.5, 30.0, early=EARLY, uniform=highest, monotonic_s=lambda: now_s)
    ceilings(backoff, 10)
    now_s = 1_000.0
    assert ceilings(backoff, 3) == [4.0, 8.0, 16.0]
    backoff.reset()
    assert ceilings(backoff, 6) == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
