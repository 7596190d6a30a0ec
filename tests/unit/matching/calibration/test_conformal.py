"""Limits that hold a stated rate."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from framematch.core.events import SIMILARITY_DIGITS, similarity
from framematch.matching.calibration.conformal import allowed, limit, needed, next_above

rates = st.sampled_from([0.001, 0.01, 0.02, 0.05, 0.07, 0.1, 0.29, 0.3, 0.5, 0.9])
similarities = st.floats(-1, 1, width=32)


@given(st.integers(1, 60).flatmap(lambda n: st.permutations(range(n + 1))), rates)
def test_of_all_orders_of_distinct_scores_the_stated_share_is_above_the_limit(ranks: list[int], rate: float) -> None:
    # Exchangeable: each of the n + 1 scores is as likely the new one, and the limit is made from the others.
    scores = [rank / 100 for rank in ranks]
    above = allowed(len(scores) - 1, rate)
    assume(above >= 0)
    realised = np.mean([new >= limit(scores[:i] + scores[i + 1 :], above) for i, new in enumerate(scores)])
    assert realised == pytest.approx((above + 1) / len(scores))
    assert rate - 1 / len(scores) < realised <= rate + 1e-12


@given(st.lists(similarities, min_size=2, max_size=40), rates)
def test_equal_scores_never_make_the_rate_higher(scores: list[float], rate: float) -> None:
    above = allowed(len(scores) - 1, rate)
    assume(above >= 0)
    realised = np.mean([new >= limit(scores[:i] + scores[i + 1 :], above) for i, new in enumerate(scores)])
    assert realised <= rate + 1e-12


@pytest.mark.parametrize(("rate", "least"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.07, 14), (0.01, 99), (0.001, 999)])
def test_an_expected_rate_needs_few_scores(rate: float, least: int) -> None:
    assert needed(rate) == least
    assert (allowed(least, rate), allowed(least - 1, rate)) == (0, -1)


TABLE = {
    0.1: {0: 29, 1: 46, 2: 61, 3: 76, 5: 103, 10: 167},
    0.05: {0: 59, 1: 93, 2: 124, 3: 153, 5: 208, 10: 336},
    0.02: {0: 149, 1: 236, 2: 313, 3: 386, 5: 523, 10: 845},
    0.01: {0: 299, 1: 473, 2: 628, 3: 773, 5: 1049, 10: 1693},
    0.001: {0: 2995, 1: 4742, 2: 6294, 3: 7752, 5: 10511, 10: 16959},
}


@pytest.mark.parametrize(
    ("rate", "hits", "least"), [(rate, *one) for rate, row in TABLE.items() for one in row.items()]
)
def test_a_bound_with_95_percent_needs_as_many_scores_as_the_table_says(rate: float, hits: int, least: int) -> None:
    assert (allowed(least, rate, 0.95), allowed(least - 1, rate, 0.95)) == (hits, hits - 1)
    assert needed(rate, 0.95) == TABLE[rate][0]


@given(st.integers(1, 150), st.sampled_from([0.02, 0.05, 0.1, 0.3]), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_bound_holds_with_its_probability_and_one_more_hit_would_not(n: int, rate: float, guarantee: float) -> None:
    # The true rate of the limit is above `rate` when fewer of n scores than allowed + 1 are among the highest `rate`.
    def fails(hits: int) -> float:
        return sum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(hits + 1))

    above = allowed(n, rate, guarantee)
    assert fails(above) <= 1 - guarantee + 1e-9
    assert fails(above + 1) > 1 - guarantee - 1e-9


@given(similarities)
def test_a_limit_is_the_next_number_that_an_event_can_print(score: float) -> None:
    above = next_above(score)
    assert above == round(above, SIMILARITY_DIGITS)
    assert score < above <= score + 1.1 * 10**-SIMILARITY_DIGITS
    assert similarity(score) <= above


@given(st.lists(similarities, min_size=1, max_size=20), st.integers(0, 19))
def test_no_more_scores_than_allowed_reach_the_limit(scores: list[float], above: int) -> None:
    assume(above < len(scores))
    assert sum(score >= limit(scores, above) for score in scores) <= above


def test_a_score_that_is_written_as_its_limit_is_below_it() -> None:
    assert next_above(0.123456) == 0.123457
    assert next_above(0.29) == 0.290001
    assert next_above(-0.0000004) == 0.0
    assert next_above(math.inf) == math.inf
