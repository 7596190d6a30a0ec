"""Limits in a sliding window: what they allow, and how long they let wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.api.access.failures import FailureLimit, owner_of
from framematch.api.access.principal import Principal
from framematch.api.access.rate_limit import RateLimit
from framematch.api.access.sliding_window import SlidingWindow
from framematch.api.problems import Problem

KEY = Principal("till", "key", frozenset(), (), "0123456789ab")
STEPS = st.lists(st.tuples(st.floats(0, 50), st.integers(1, 12)), min_size=1, max_size=60)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@given(STEPS)
def test_no_minute_takes_more_than_twice_the_limit_and_no_fixed_window_more_than_it(
    steps: list[tuple[float, int]],
) -> None:
    clock = Clock()
    window = SlidingWindow(60, monotonic_s=clock)
    taken: list[tuple[float, int]] = []
    for pause_s, cost in steps:
        clock.now_s += pause_s
        if window.take("a", 10, cost).suffices:
            taken.append((clock.now_s, min(cost, 10)))
    for start_s, _ in taken:
        assert sum(cost for at_s, cost in taken if start_s <= at_s < start_s + 60) <= 20
    for number in {int(at_s // 60) for at_s, _ in taken}:
        assert sum(cost for at_s, cost in taken if at_s // 60 == number) <= 10


@given(STEPS, st.integers(1, 10))
def test_whoever_waits_as_long_as_he_was_told_is_admitted_and_not_much_sooner(
    steps: list[tuple[float, int]], wanted: int
) -> None:
    clock = Clock()
    window = SlidingWindow(60, monotonic_s=clock)
    for pause_s, cost in steps:
        clock.now_s += pause_s
        window.take("a", 10, cost)
    wait_s = window.look("a", 10, wanted).wait_s
    if wait_s > 0.1:
        clock.now_s += wait_s - 0.1
        assert not window.look("a", 10, wanted).suffices
        wait_s = 0.1
    clock.now_s += wait_s
    assert window.take("a", 10, wanted).suffices


@given(STEPS)
def test_the_whole_limit_is_there_at_the_reset(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    window = SlidingWindow(60, monotonic_s=clock)
    for pause_s, cost in steps:
        clock.now_s += pause_s
        budget = window.take("a", 10, cost)
    clock.now_s += budget.reset_s
    assert window.take("a", 10, 10).suffices


def test_owners_do_not_share_a_limit() -> None:
    window = SlidingWindow()
    assert window.take("a", 1).suffices
    assert window.take("b", 1).suffices
    assert not window.take("a", 1).suffices


def test_owners_without_end_take_bounded_memory() -> None:
    window = SlidingWindow(owners_max=100)
    for number in range(1_000):
        window.take(str(number), 1)
        window.look(f"only looked at {number}", 1)
    assert len(window) == 100


def test_a_refusal_takes_nothing_and_says_when_to_come_back() -> None:
    clock = Clock()
    limit = RateLimit(10, SlidingWindow(monotonic_s=clock))
    limit.charge(KEY, 4)
    with pytest.raises(Problem) as found:
        limit.charge(KEY, 8)
    assert (found.value.status, found.value.code) == (429, "rate_limited")
    assert limit.headers(KEY)["RateLimit-Remaining"] == "6"
    clock.now_s += int(found.value.headers["Retry-After"])
    limit.charge(KEY, 8)


def test_a_key_has_a_limit_of_its_own_and_0_means_none() -> None:
    limit = RateLimit(1)
    for _ in range(5):
        limit.charge(Principal("own", "key", frozenset(), (), "a" * 12, requests_per_minute=5))
        limit.charge(Principal("none", "key", frozenset(), (), "b" * 12, requests_per_minute=0))
    with pytest.raises(Problem):
        limit.charge(Principal("own", "key", frozenset(), (), "a" * 12, requests_per_minute=5))


def test_without_a_limit_there_are_no_headers() -> None:
    assert RateLimit(0).headers(KEY) == {}


def test_failures_of_one_address_do_not_count_for_another() -> None:
    limit = FailureLimit(2)
    for _ in range(3):
        limit.add("192.0.2.1")
    limit.check("192.0.2.2")
    with pytest.raises(Problem, match="unknown keys"):
        limit.check("192.0.2.1")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_addresses_that_one_client_has_count_together(first: str, second: str, same: bool) -> None:
    assert (owner_of(first) == owner_of(second)) is same


def test_0_failures_is_no_limit() -> None:
    limit = FailureLimit(0, SlidingWindow())
    for _ in range(100):
        limit.add("192.0.2.1")
    limit.check("192.0.2.1")
