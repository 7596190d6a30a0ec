"""The search over a snapshot with the changes since it was built."""

from dataclasses import replace
from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.decision import Candidate
from framematch.matching.index import ProductIndex
from framematch.matching.matcher import Matcher
from tests.unit.catalog.deltas import delta
from tests.unit.catalog.snapshots import make_snapshot, unit_rows

NORTH, EAST, SOUTH, WEST, NORTH_EAST = np.array([[0, 1], [1, 0], [0, -1], [-1, 0], [0.6, 0.8]], np.float32)[:, None]
BASE = make_snapshot(np.concatenate([NORTH, EAST, NORTH_EAST]), ["a", "b", "c"])
POOL = unit_rows(12)


def ids(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.product_id for candidate in candidates]


def found(changes: dict[str, Embeddings | None], query: Embeddings, k: int = 5) -> tuple[Candidate, ...]:
    (candidates,) = ProductIndex(BASE).with_delta(delta(changes)).search(query, k)
    return candidates


def test_an_added_product_is_found() -> None:
    assert ids(found({"new": SOUTH}, SOUTH))[0] == "new"


def test_a_changed_product_is_found_by_its_new_pictures_and_no_longer_by_its_old_ones() -> None:
    candidates = found({"a": SOUTH}, NORTH)
    assert ids(candidates) == ["c", "b", "a"]
    assert candidates[2].score == pytest.approx(-1)


def test_a_removed_product_is_not_found() -> None:
    assert ids(found({"a": None}, NORTH)) == ["c", "b"]


def test_the_removal_of_an_unknown_product_changes_nothing() -> None:
    assert found({"x": None}, NORTH) == ProductIndex(BASE).search(NORTH, 5)[0]


def test_nothing_is_found_when_all_products_are_removed() -> None:
    assert found({"a": None, "b": None, "c": None}, NORTH) == ()


def test_the_last_change_of_a_product_counts() -> None:
    changes = [("a", SOUTH), ("a", None), ("a", WEST)]
    (candidates,) = ProductIndex(BASE).with_delta(delta(changes)).search(WEST, 1)
    assert candidates[0].product_id == "a"
    assert candidates[0].score == pytest.approx(1)


def test_a_delta_replaces_the_one_before() -> None:
    index = ProductIndex(BASE).with_delta(delta({"a": None})).with_delta(delta({"b": None}))
    assert ids(index.search(NORTH, 5)[0]) == ["a", "c"]


def test_an_index_without_the_delta_still_finds_what_it_found() -> None:
    index = ProductIndex(BASE)
    before = index.search(NORTH, 5)
    index.with_delta(delta({"a": None, "new": NORTH}))
    assert index.search(NORTH, 5) == before


def test_products_that_share_a_picture_with_one_of_the_base_are_exactly_equally_similar() -> None:
    pictures = unit_rows(40, 512)
    snapshot = make_snapshot(pictures, [f"p{n:02}" for n in range(40)])
    index = ProductIndex(snapshot).with_delta(delta({"a-new": pictures[7:8], "p30": pictures[[7, 8]]}))
    for batch in (1, 3, 16, 64):
        queries = unit_rows(batch, 512, seed=batch)
        for candidates in index.search(queries, 41):
            scores = {candidate.product_id: candidate.score for candidate in candidates}
            assert scores["a-new"] == scores["p07"]
            assert scores["p30"] == max(scores["p07"], scores["p08"])
            order = ids(candidates)
            assert order.index("a-new") < order.index("p07")


def test_products_of_the_delta_that_share_a_picture_are_exactly_equally_similar() -> None:
    picture, base = unit_rows(1, 512, seed=5), unit_rows(3, 512)
    changes: dict[str, Embeddings | None] = {f"n{n}": picture for n in range(9)}
    index = ProductIndex(make_snapshot(base, ["a", "b", "c"])).with_delta(delta(changes))
    (candidates,) = index.search(picture, 9)
    assert ids(candidates) == [f"n{n}" for n in range(9)]
    assert len({candidate.score for candidate in candidates}) == 1


def test_many_removed_products_among_the_nearest_do_not_hide_the_others() -> None:
    near = unit_rows(1, 64) + 0.05 * unit_rows(2_000, 64, seed=1)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    far = unit_rows(3, 64, seed=2)
    removed = [f"p{n}" for n in range(2_000)]
    snapshot = make_snapshot(np.concatenate([near, far]), [*removed, "a", "b", "c"])
    index = ProductIndex(snapshot).with_delta(delta(dict.fromkeys(removed)))
    for candidates in index.search(near[:4], 3):
        assert set(ids(candidates)) == {"a", "b", "c"}


def test_more_removed_products_among_the_nearest_than_an_index_returns_do_not_hide_the_others() -> None:
    rows = unit_rows(200, 64)
    snapshot = make_snapshot(rows, [f"p{n}" for n in range(200)])
    nearest = ProductIndex(snapshot).search(rows[:1], 100)[0]
    bounded = Mock(wraps=snapshot.index, vectors=200, max_k=40)
    index = ProductIndex(replace(snapshot, index=bounded)).with_delta(delta(dict.fromkeys(ids(nearest)[:60])))
    assert ids(index.search(rows[:1], 5)[0]) == ids(nearest)[60:65]
    assert all(call.args[1] <= 40 for call in bounded.search.call_args_list)


def test_a_changed_product_with_many_pictures_does_not_hide_the_others() -> None:
    angles = np.linspace(-0.1, 0.1, 200, dtype=np.float32)
    around_south = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    assert ids(found({"a": around_south, "new": EAST}, SOUTH, k=4)) == ["a", "b", "new", "c"]


def test_an_embedding_of_nan_finds_nothing_in_a_delta_either() -> None:
    assert found({"new": SOUTH}, np.full((1, 2), np.nan, np.float32)) == ()


def test_no_embeddings_give_no_results_with_a_delta_either() -> None:
    assert ProductIndex(BASE).with_delta(delta({"new": SOUTH})).search(SOUTH[:0], 2) == []


def test_only_the_given_products_are_searched() -> None:
    index = ProductIndex(BASE)
    assert ids(index.search(NORTH, 5, frozenset({"b", "c", "x"}))[0]) == ["c", "b"]
    assert index.search(NORTH, 5, frozenset({"x"})) == index.search(NORTH, 5, frozenset()) == [()]


def test_only_the_given_products_of_a_delta_are_searched() -> None:
    index = ProductIndex(BASE).with_delta(delta({"a": SOUTH, "b": None, "new": WEST, "other": NORTH}))
    assert ids(index.search(NORTH, 5, frozenset({"a", "b", "c", "new"}))[0]) == ["c", "new", "a"]


@settings(max_examples=50)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30), st.frozensets(st.sampled_from("abcdefg")))
def test_a_search_among_some_products_equals_a_search_of_all_without_the_others(
    product_ids: list[str], some: frozenset[str]
) -> None:
    index = ProductIndex(make_snapshot(unit_rows(len(product_ids)), product_ids))
    queries = unit_rows(3, seed=1)
    for candidates, every in zip(index.search(queries, 3, some), index.search(queries, 6), strict=True):
        expected = [candidate for candidate in every if candidate.product_id in some][:3]
        assert ids(candidates) == ids(tuple(expected))
        assert [c.score for c in candidates] == pytest.approx([c.score for c in expected], abs=1e-6)


def test_the_same_picture_under_a_new_product_is_ambiguous() -> None:
    matcher = Matcher(make_snapshot(POOL[:2], ["a", "b"], margin=0.0)).with_delta(delta({"new": POOL[:1]}))
    (decision,) = matcher.match(POOL[:1])
    assert (decision.kind, decision.reason) == ("ambiguous", "tie")


Views = list[int]
"""The pictures of a product, by their numbers in POOL; several products may have the same."""
PRODUCTS = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.integers(0, 11), min_size=1, max_size=4), min_size=1)
CHANGES = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.lists(st.integers(0, 11), max_size=4)), max_size=12)


@settings(max_examples=200)
@given(PRODUCTS, CHANGES, st.integers(1, 9), st.integers(1, 5))
def test_base_and_delta_find_what_a_new_index_finds(
    products: dict[str, Views], changes: list[tuple[str, Views]], k: int, count: int
) -> None:
    resulting = dict(products)
    for key, views in changes:
        resulting.pop(key, None)
        if views:
            resulting[key] = views
    index = ProductIndex(snapshot_of(products)).with_delta(
        delta([(key, POOL[views] if views else None) for key, views in changes])
    )
    queries = unit_rows(count, seed=1)
    results = index.search(queries, k)
    if not resulting:
        assert results == [()] * count
        return
    for candidates, expected in zip(results, ProductIndex(snapshot_of(resulting)).search(queries, k), strict=True):
        assert ids(candidates) == ids(expected)
        scores = [candidate.score for candidate in candidates]
        assert scores == pytest.approx([candidate.score for candidate in expected], abs=1e-6)
        assert ties(candidates) == ties(expected)


def ties(candidates: tuple[Candidate, ...]) -> list[bool]:
    """For each candidate but the first whether it is exactly as similar as the one before."""
    return [one.score == other.score for one, other in pairwise(candidates)]


def snapshot_of(products: dict[str, Views]) -> Snapshot:
    product_ids = [key for key, views in products.items() for _ in views]
    return make_snapshot(POOL[[view for views in products.values() for view in views]], product_ids)
