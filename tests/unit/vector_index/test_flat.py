"""The exact search over a memory-mapped file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.core.arrays import Embeddings
from framematch.vector_index.build import build_index
from framematch.vector_index.index import VectorIndex, open_index
from tests.unit.vector_index.vectors import unit_vectors


def flat(folder: Path, vectors: Embeddings) -> VectorIndex:
    description = build_index(vectors, folder, "flat")
    return open_index(folder, description, vectors=len(vectors), dimension=vectors.shape[1])


def test_the_nearest_vectors_are_best_first_with_their_cosines(tmp_path: Path) -> None:
    index = flat(tmp_path, np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32))
    cosines, rows = index.search(np.array([[0, 1]], np.float32), 2)
    assert rows.tolist() == [[1, 2]]
    assert cosines[0] == pytest.approx([1.0, 0.8])


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5))
def test_a_search_equals_a_comparison_with_every_vector(
    tmp_path_factory: pytest.TempPathFactory, count: int, k: int, queries: int
) -> None:
    vectors, asked = unit_vectors(count), unit_vectors(queries, seed=1)
    cosines, rows = flat(tmp_path_factory.mktemp("index"), vectors).search(asked, k)
    expected = np.sort(asked @ vectors.T, axis=1)[:, ::-1][:, :k]
    assert cosines[:, : min(k, count)] == pytest.approx(expected, abs=1e-6)
    assert (rows[:, count:] == -1).all()
    assert (cosines[:, count:] == -np.inf).all()


def own_memory_bytes() -> int:
    """Memory of this process that belongs to no file."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def test_the_vectors_are_searched_where_they_are_mapped_and_unmapped_when_closed(tmp_path: Path) -> None:
    vectors = unit_vectors(40_000, 512)
    queries = vectors[:3].copy()
    description = build_index(vectors, tmp_path, "flat")
    before = own_memory_bytes()
    index = open_index(tmp_path, description, vectors=40_000, dimension=512)
    index.warm_up()
    index.search(queries, 5)
    assert own_memory_bytes() - before < vectors.nbytes // 2
    index.close()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_no_queries_find_nothing(tmp_path: Path) -> None:
    index = flat(tmp_path, unit_vectors(3))
    cosines, rows = index.search(unit_vectors(1)[:0], 2)
    assert cosines.shape == rows.shape == (0, 2)
