"""The search over a snapshot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.matching.index import ProductIndex
from framematch.vector_index.faiss_library import BLAS_THRESHOLD
from tests.unit.catalog.snapshots import make_snapshot, unit_rows


def test_the_nearest_products_are_best_first_with_their_similarity() -> None:
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    (found,) = ProductIndex(make_snapshot(rows, ["a", "b", "c"])).search(np.array([[0, 1]], np.float32), 2)
    assert [candidate.product_id for candidate in found] == ["b", "c"]
    assert [candidate.score for candidate in found] == pytest.approx([1.0, 0.8])


def test_the_views_of_a_product_are_one_candidate_with_the_highest_similarity() -> None:
    rows = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    (found,) = ProductIndex(make_snapshot(rows, ["a", "a", "b"])).search(np.array([[0.8, 0.6]], np.float32), 5)
    assert [candidate.product_id for candidate in found] == ["a", "b"]
    assert found[0].score == pytest.approx(1.0)


def test_a_product_with_many_views_does_not_hide_the_others() -> None:
    near = np.tile(np.array([[1, 0]], np.float32), (100, 1))
    far = np.array([[0, 1], [-1, 0]], np.float32)
    index = ProductIndex(make_snapshot(np.concatenate([near, far]), ["a"] * 100 + ["b", "c"]))
    (found,) = index.search(np.array([[1, 0]], np.float32), 3)
    assert [candidate.product_id for candidate in found] == ["a", "b", "c"]


@settings(max_examples=50)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30), st.integers(1, 8), st.integers(1, 5))
def test_the_result_equals_a_comparison_with_every_view(product_ids: list[str], k: int, count: int) -> None:
    rows, queries = unit_rows(len(product_ids)), unit_rows(count, seed=1)
    found = ProductIndex(make_snapshot(rows, product_ids)).search(queries, k)
    for query, candidates in zip(queries, found, strict=True):
        best = {key: max(rows[n] @ query for n, p in enumerate(product_ids) if p == key) for key in set(product_ids)}
        expected = sorted(best.values(), reverse=True)[:k]
        assert [candidate.score for candidate in candidates] == pytest.approx(expected, abs=1e-5)
        assert len({candidate.product_id for candidate in candidates}) == len(candidates)


def test_a_batch_large_enough_for_blas_finds_the_same_as_single_queries() -> None:
    queries = unit_rows(64, seed=1)
    assert queries.size > BLAS_THRESHOLD
    index = ProductIndex(make_snapshot(unit_rows(50), [f"p{n}" for n in range(50)]))
    together = index.search(queries, 3)
    alone = [index.search(queries[n : n + 1], 3)[0] for n in range(64)]
    assert [[c.product_id for c in found] for found in together] == [[c.product_id for c in found] for found in alone]


def test_an_embedding_of_nan_finds_nothing() -> None:
    index = ProductIndex(make_snapshot(unit_rows(3), ["a", "b", "c"]))
    assert index.search(np.full((1, 48), np.nan, np.float32), 2) == [()]


def test_no_embeddings_give_no_results() -> None:
    assert ProductIndex(make_snapshot(unit_rows(3), ["a", "b", "c"])).search(unit_rows(1)[:0], 2) == []
