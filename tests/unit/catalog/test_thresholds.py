"""Thresholds estimated from the catalogue alone."""

import numpy as np
import pytest

from framematch.catalog.thresholds import (
    FALSE_ACCEPT_RATE,
    METHOD_SINGLE,
    SAMPLED_VIEWS,
    estimate_thresholds,
    nearest_impostors,
)
from tests.unit.catalog.snapshots import unit_rows


def test_views_of_the_same_product_are_no_impostors() -> None:
    embeddings = np.array([[1, 0], [1, 0], [0.6, 0.8]], np.float32)
    assert nearest_impostors(embeddings, np.array([0, 0, 1])) == pytest.approx([0.6, 0.6, 0.6])


def test_the_stated_share_of_impostors_reaches_the_match_threshold() -> None:
    embeddings, products = unit_rows(200), np.arange(200)
    nearest = nearest_impostors(embeddings, products)
    match = estimate_thresholds(embeddings, products).match
    assert np.mean(nearest >= match) == pytest.approx(FALSE_ACCEPT_RATE, abs=0.01)


def test_embeddings_that_are_close_together_get_a_higher_threshold_and_a_smaller_margin() -> None:
    loose = unit_rows(100)
    close = loose + 3
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    products = np.arange(100)
    spread, narrow = estimate_thresholds(loose, products), estimate_thresholds(close, products)
    assert narrow.match > spread.match
    assert 0 < narrow.margin < spread.margin


def test_pictures_shared_by_two_products_do_not_raise_the_threshold() -> None:
    embeddings = unit_rows(50)
    mostly_shared = np.concatenate([embeddings, embeddings[:40]])
    alone = estimate_thresholds(embeddings, np.arange(50)).match
    assert estimate_thresholds(mostly_shared, np.arange(90)).match == pytest.approx(alone, abs=0.1)


def test_a_catalogue_of_one_product_gets_fixed_thresholds() -> None:
    estimate = estimate_thresholds(unit_rows(3), np.zeros(3, np.int64))
    assert (estimate.method, estimate.false_accept_rate, estimate.impostors) == (METHOD_SINGLE, None, 0)
    assert 0 < estimate.match < 1


def test_a_large_catalogue_is_sampled_deterministically() -> None:
    embeddings, products = unit_rows(SAMPLED_VIEWS + 500), np.arange(SAMPLED_VIEWS + 500)
    assert estimate_thresholds(embeddings, products) == estimate_thresholds(embeddings, products)
    assert estimate_thresholds(embeddings, products).impostors == SAMPLED_VIEWS
