"""The catalogue's own pictures as held-out ones."""

import numpy as np

from framematch.core.arrays import Embeddings
from framematch.matching.calibration.held_out_views import score_held_out_views
from tests.unit.catalog.snapshots import make_snapshot


def at(*degrees: float) -> Embeddings:
    angles = np.radians(np.array(degrees))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_a_view_is_searched_for_among_the_products_other_views() -> None:
    scored = score_held_out_views(make_snapshot(at(0, 20, 90), ["a", "a", "b"]))
    assert [one.label.product_id for one in scored] == ["a", "a"]
    first = scored[0]
    assert [(one.product_id, round(one.score, 3)) for one in first.candidates] == [("a", 0.940), ("b", 0.0)]
    assert [one.product_id for one in first.siblings] == ["b"]
    assert first.shows == {"a"}


def test_each_view_is_independent() -> None:
    scored = score_held_out_views(make_snapshot(at(0, 20, 40, 90), ["a", "a", "a", "b"]))
    assert len({one.label.group for one in scored}) == 3


def test_another_product_may_be_nearer_than_the_products_other_views() -> None:
    scored = score_held_out_views(make_snapshot(at(0, 80, 10), ["a", "a", "b"]))
    assert [one.product_id for one in scored[0].candidates] == ["b", "a"]


def test_a_picture_of_two_products_or_of_one_with_a_single_view_tells_nothing() -> None:
    scored = score_held_out_views(make_snapshot(at(0, 30, 0, 60, 90), ["a", "a", "b", "b", "c"]))
    assert [(one.label.product_id, round(one.candidates[0].score, 3)) for one in scored] == [("a", 0.866), ("b", 0.866)]
