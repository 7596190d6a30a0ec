"""Thresholds estimated from the catalogue alone."""

import numpy as np
import pytest

from framematch.catalog.snapshots.thresholds import (
    FALSE_ACCEPT_RATE,
    FIXED_MARGIN,
    FIXED_MATCH,
    MAX_MATCH,
    METHOD,
    METHOD_CALIBRATED,
    METHOD_FEW_PAIRS,
    METHOD_SINGLE,
    MIN_MATCH,
    MIN_PAIRS,
    SAMPLED_VIEWS,
    ThresholdEstimate,
    estimate_thresholds,
    nearest_impostors,
)
from framematch.core.arrays import Embeddings
from tests.unit.catalog.snapshots import unit_rows


def around(centre: float, rows: int, dimension: int = 48) -> Embeddings:
    """Rows whose similarity to each other is about centre^2 / (1 + centre^2): 0 gives unrelated ones."""
    x = unit_rows(rows, dimension) + np.float32(centre) * unit_rows(1, dimension, seed=7)
    made: Embeddings = x / np.linalg.norm(x, axis=1, keepdims=True)
    return made


def test_views_of_the_same_product_are_no_impostors() -> None:
    embeddings = np.array([[1, 0], [1, 0], [0.6, 0.8]], np.float32)
    found = nearest_impostors(embeddings, np.array([0, 0, 1]))
    assert found.similarity == pytest.approx([0.6, 0.6, 0.6])
    assert found.nearest_rows.tolist() == [2, 2, 0]
    assert found.pairs() == 2


@pytest.mark.parametrize("centre", [1, 2])
def test_the_stated_share_of_impostors_reaches_the_match_threshold(centre: float) -> None:
    embeddings, products = around(centre, 200), np.arange(200)
    nearest = nearest_impostors(embeddings, products).similarity
    estimate = estimate_thresholds(embeddings, products)
    assert np.mean(nearest >= estimate.match) == pytest.approx(FALSE_ACCEPT_RATE, abs=0.01)
    assert estimate.false_accept_rate == pytest.approx(FALSE_ACCEPT_RATE, abs=0.01)
    assert 100 <= estimate.impostors <= 200


def test_embeddings_that_are_close_together_get_a_higher_threshold_and_a_smaller_margin() -> None:
    products = np.arange(100)
    spread, narrow = (estimate_thresholds(around(centre, 100), products) for centre in (0.5, 3))
    assert narrow.match > spread.match
    assert 0 < narrow.margin < spread.margin


def test_pictures_shared_by_two_products_do_not_raise_the_threshold() -> None:
    embeddings = around(1, 90)
    mostly_shared = np.concatenate([embeddings, embeddings[:40]])
    alone = estimate_thresholds(embeddings, np.arange(90)).match
    assert estimate_thresholds(mostly_shared, np.arange(130)).match == pytest.approx(alone, abs=0.1)


def test_thousands_of_near_duplicates_do_not_raise_the_threshold() -> None:
    distinct, copies = around(1, 100), np.repeat(around(1, 20), 100, axis=0)
    near = copies + 0.01 * unit_rows(len(copies), seed=3)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    embeddings = np.concatenate([near, distinct[20:]])
    estimate = estimate_thresholds(embeddings, np.arange(len(embeddings)))
    alone = estimate_thresholds(distinct, np.arange(100)).match
    assert estimate.match == pytest.approx(alone, abs=0.1)
    assert estimate.impostors <= 80


@pytest.mark.parametrize("centre", [0, 0.5, 1, 2, 5])
@pytest.mark.parametrize("products", [2, 3, 10, MIN_PAIRS])
def test_a_few_pairs_give_fixed_thresholds_or_stricter_ones(products: int, centre: float) -> None:
    estimate = estimate_thresholds(around(centre, products), np.arange(products))
    assert (estimate.method, estimate.false_accept_rate) == (METHOD_FEW_PAIRS, None)
    assert estimate.match >= FIXED_MATCH
    assert estimate.margin >= FIXED_MARGIN


def test_two_products_are_one_pair() -> None:
    assert estimate_thresholds(unit_rows(2), np.arange(2)).impostors == 1


def test_opposite_embeddings_do_not_give_a_negative_threshold() -> None:
    row = unit_rows(1)
    assert estimate_thresholds(np.concatenate([row, -row]), np.arange(2)).match == FIXED_MATCH


@pytest.mark.parametrize("products", [2, 100, 3_000])
def test_products_that_all_share_a_picture_get_fixed_thresholds(products: int) -> None:
    embeddings = np.repeat(unit_rows(1), products, axis=0)
    estimate = estimate_thresholds(embeddings, np.arange(products))
    assert (estimate.match, estimate.margin, estimate.impostors) == (FIXED_MATCH, FIXED_MARGIN, 0)
    assert estimate.method == METHOD_FEW_PAIRS


def test_unrelated_embeddings_get_the_lowest_threshold_and_the_share_that_reaches_it() -> None:
    estimate = estimate_thresholds(unit_rows(100, 2_048), np.arange(100))
    assert (estimate.method, estimate.match, estimate.false_accept_rate) == (METHOD, MIN_MATCH, 0.0)


def test_embeddings_that_are_all_close_get_the_highest_threshold() -> None:
    estimate = estimate_thresholds(around(6, 100), np.arange(100))
    assert (estimate.method, estimate.match) == (METHOD, MAX_MATCH)


@pytest.mark.parametrize("views", [1, 3, 100])
def test_a_catalogue_of_one_product_gets_fixed_thresholds(views: int) -> None:
    estimate = estimate_thresholds(unit_rows(views), np.zeros(views, np.int64))
    assert (estimate.method, estimate.false_accept_rate, estimate.impostors) == (METHOD_SINGLE, None, 0)
    assert (estimate.match, estimate.margin) == (FIXED_MATCH, FIXED_MARGIN)


def test_a_large_catalogue_is_sampled_deterministically() -> None:
    embeddings, products = unit_rows(SAMPLED_VIEWS + 500), np.arange(SAMPLED_VIEWS + 500)
    assert estimate_thresholds(embeddings, products) == estimate_thresholds(embeddings, products)
    assert len(nearest_impostors(embeddings, products).rows) == SAMPLED_VIEWS


def test_the_words_say_rate_and_pairs_and_what_finds_the_rate_of_cameras() -> None:
    estimated = estimate_thresholds(around(1, 200), np.arange(200))
    assert f"{estimated.impostors} pairs" in estimated.explain()
    assert "50% of unknown products" in estimated.explain()
    few = estimate_thresholds(around(1, 5), np.arange(5))
    assert (
        f"an estimate needs 30 pairs of different pictures of two products, and the catalogue has {few.impostors}"
        in (few.explain())
    )
    assert "no second product" in estimate_thresholds(unit_rows(2), np.zeros(2, np.int64)).explain()
    for one in (estimated, few):
        assert "`framematch catalog calibrate` finds" in one.explain()


def test_calibrated_thresholds_state_their_rate() -> None:
    stated = ThresholdEstimate(0.7, 0.1, METHOD_CALIBRATED, 0.05, 296).explain()
    assert stated.startswith("calibrated with 296 labelled pictures that must not match: at most 5 %")
