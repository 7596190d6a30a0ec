"""Confidence intervals against known values, and how often they cover the true share."""

import math

import numpy as np
import pytest

from framematch.matching.intervals import ClusterSums, Interval, binomial_cdf, clopper_pearson, clustered, wilson


def sums_of(sizes: list[int], positives: list[int]) -> ClusterSums:
    return ClusterSums(
        clusters=len(sizes),
        with_positive=sum(y > 0 for y in positives),
        with_negative=sum(y < n for n, y in zip(sizes, positives, strict=True)),
        observations=sum(sizes),
        positive=sum(positives),
        squares=sum(n * n for n in sizes),
        positive_squares=sum(y * y for y in positives),
        products=sum(n * y for n, y in zip(sizes, positives, strict=True)),
    )


@pytest.mark.parametrize(
    ("positive", "observations", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_has_the_published_values(positive: int, observations: int, low: float, high: float) -> None:
    found = wilson(positive / observations, observations)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_clusters_of_one_are_independent_observations() -> None:
    positives = [1] * 100 + [0] * 900
    found, plain = clustered(sums_of([1] * 1_000, positives)), wilson(0.1, 1_000)
    assert found.low == pytest.approx(plain.low, abs=2e-4)
    assert found.high == pytest.approx(plain.high, abs=2e-4)


def test_clusters_that_agree_within_count_as_one_observation_each() -> None:
    found = clustered(sums_of([50] * 200, [50] * 40 + [0] * 160))
    plain = wilson(0.2, 200)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_without_a_positive_the_bound_is_that_of_the_clusters() -> None:
    found = clustered(sums_of([100] * 200, [0] * 200))
    assert found.share == found.low == 0
    assert found.high == pytest.approx(wilson(0, 200).high, rel=0.02)
    assert found.high > 30 * wilson(0, 20_000).high


def test_one_positive_does_not_narrow_the_interval() -> None:
    none = clustered(sums_of([100] * 200, [0] * 200))
    one = clustered(sums_of([100] * 200, [1] + [0] * 199))
    assert one.high > none.high


def test_shares_mirror() -> None:
    sizes, positives = [10] * 50, [10] * 45 + [9] * 5
    found = clustered(sums_of(sizes, positives))
    mirrored = clustered(sums_of(sizes, [n - y for n, y in zip(sizes, positives, strict=True)]))
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.9])
def test_the_interval_covers_the_true_share(correlation: float) -> None:
    chance, share, clusters, draws = np.random.default_rng(3), 0.05, 120, 300
    found: list[Interval] = []
    for _ in range(draws):
        sizes = chance.integers(10, 40, clusters)
        if correlation:
            scale = (1 - correlation) / correlation
            shares = chance.beta(share * scale, (1 - share) * scale, clusters)
        else:
            shares = np.full(clusters, share)
        found.append(clustered(sums_of(sizes.tolist(), chance.binomial(sizes, shares).tolist())))
    assert sum(own.low <= share <= own.high for own in found) >= 0.92 * draws


@pytest.mark.parametrize(
    ("hits", "observations", "low", "high"),
    # The first three are of Brown, Cai and DasGupta's review (2001) and of R's binom.test.
    [
        (0, 10, 0.0, 0.30850),
        (10, 10, 0.69150, 1.0),
        (7, 20, 0.15391, 0.59219),
        (124, 2485, 0.04166, 0.05920),
        (25, 2485, 0.00652, 0.01481),
        (0, 0, 0.0, 1.0),
    ],
)
def test_exact_intervals_are_those_of_the_tables(hits: int, observations: int, low: float, high: float) -> None:
    found = clopper_pearson(hits, observations)
    assert [found.low, found.high] == pytest.approx([low, high], abs=5e-5)


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.5, 0.97])
def test_exact_intervals_cover_in_at_least_95_percent_of_samples(rate: float) -> None:
    probability = np.diff(binomial_cdf(60, rate), prepend=0.0)
    covered = [clopper_pearson(hits, 60) for hits in range(61)]
    assert sum(p for p, one in zip(probability, covered, strict=True) if one.low <= rate <= one.high) >= 0.95


@pytest.mark.parametrize("rate", [1e-4, 0.05, 0.9])
def test_binomial_probabilities_are_those_of_integers(rate: float) -> None:
    exact = np.cumsum([math.comb(40, i) * rate**i * (1 - rate) ** (40 - i) for i in range(41)])
    assert binomial_cdf(40, rate) == pytest.approx(exact)
    assert binomial_cdf(0, rate).tolist() == [1.0]
