"""The exact search."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vector_index.vectors import built, unit_vectors


def test_the_nearest_vectors_are_best_first_with_their_cosines(tmp_path: Path) -> None:
    index = built(tmp_path, np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), "flat")
    cosines, rows = index.search(np.array([[0, 1]], np.float32), 2)
    assert rows.tolist() == [[1, 2]]
    assert cosines[0] == pytest.approx([1.0, 0.8])


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5))
def test_a_search_equals_a_comparison_with_every_vector(
    tmp_path_factory: pytest.TempPathFactory, count: int, k: int, queries: int
) -> None:
    vectors, asked = unit_vectors(count), unit_vectors(queries, seed=1)
    cosines, rows = built(tmp_path_factory.mktemp("index"), vectors, "flat").search(asked, k)
    expected = np.sort(asked @ vectors.T, axis=1)[:, ::-1][:, :k]
    assert cosines[:, : min(k, count)] == pytest.approx(expected, abs=1e-6)
    assert (rows[:, count:] == -1).all()
    assert (cosines[:, count:] == -np.inf).all()


def test_a_batch_large_enough_for_blas_finds_the_same_as_single_queries(tmp_path: Path) -> None:
    index, queries = built(tmp_path, unit_vectors(300), "flat"), unit_vectors(64, seed=1)
    assert queries.size > faiss.cvar.distance_compute_blas_threshold > queries.shape[1]
    alone = np.vstack([index.search(queries[n : n + 1], 3)[1] for n in range(64)])
    assert (index.search(queries, 3)[1] == alone).all()


class FakeGpu:
    """FAISS's index on a GPU, on the CPU; refuses what a GPU does not do."""

    def __init__(self, _resources: object, dimension: int) -> None:
        self._index = faiss.IndexFlatIP(dimension)
        self.searches = 0

    def add(self, vectors: np.ndarray) -> None:
        self._index.add(vectors)

    def search(self, queries: np.ndarray, k: int) -> object:
        assert k <= 2_048
        self.searches += 1
        return self._index.search(queries, k)


def test_a_gpu_is_used_for_as_many_neighbours_as_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu = FakeGpu(None, 8)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexFlatIP", lambda _resources, _dimension: on_gpu, raising=False)
    vectors = unit_vectors(3_000, 8)
    index = built(tmp_path, vectors, "flat")
    near, far = index.search(vectors[:2], 5), index.search(vectors[:2], 3_000)
    assert on_gpu.searches == 1
    assert (near[1] == far[1][:, :5]).all()
    assert (np.sort(far[1]) == np.arange(3_000)).all()
