"""How much of an exact search an index finds, and that too little is reported."""

from pathlib import Path

import numpy as np
import pytest

from framematch.vector_index import graph, lists
from framematch.vector_index.build import build_index
from framematch.vector_index.description import FLAT, IndexDescription
from framematch.vector_index.faiss_library import load_faiss
from framematch.vector_index.recall import ExactResult, disturbed
from tests.unit.vector_index.vectors import grouped_vectors, unit_vectors

VECTORS = grouped_vectors(3_000)


@pytest.mark.parametrize(("one", "ten", "reaches"), [(0.99, 0.99, True), (0.98, 1.0, False), (1.0, 0.98, False)])
def test_both_recalls_have_to_reach_the_floor(one: float, ten: float, reaches: bool) -> None:
    assert IndexDescription("hnsw", {}, one, ten, 9).reaches_floor is reaches


def test_a_recall_that_is_no_number_does_not_reach_the_floor() -> None:
    assert not IndexDescription("hnsw", {}, float("nan"), 1.0, 9).reaches_floor
    assert FLAT.reaches_floor


def test_an_exact_search_finds_all() -> None:
    exact = ExactResult.of(load_faiss(), VECTORS)
    cosines = -np.sort(-(exact.queries @ VECTORS.T), axis=1)[:, :10]
    assert exact.cosines == pytest.approx(cosines, abs=1e-6)
    assert exact.recall((cosines, np.zeros(cosines.shape, np.int64))) == (1.0, 1.0)


def test_what_is_missing_lowers_the_recall() -> None:
    exact = ExactResult.of(load_faiss(), VECTORS)
    without_first = np.full(exact.cosines.shape, -np.inf, np.float32)
    without_first[:, :-1] = exact.cosines[:, 1:]
    one, ten = exact.recall((without_first, np.zeros(without_first.shape, np.int64)))
    assert one < 0.1
    assert ten == pytest.approx(0.9, abs=0.02)


def test_queries_are_near_a_stored_vector_but_not_equal_to_it() -> None:
    queries = disturbed(VECTORS, 500)
    nearest = (queries @ VECTORS.T).max(axis=1)
    assert np.linalg.norm(queries, axis=1) == pytest.approx(1, abs=1e-5)
    assert 0.5 < np.quantile(nearest, 0.05) < np.quantile(nearest, 0.95) < 0.98
    assert (queries == disturbed(VECTORS, 500)).all()


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_vectors_have_queries_too(count: int) -> None:
    assert np.linalg.norm(disturbed(unit_vectors(count), count), axis=1) == pytest.approx(1, abs=1e-5)


def test_a_graph_that_finds_too_little_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "LINKS", 2)
    monkeypatch.setattr(graph, "EF_SEARCH", (1, 2))
    description = build_index(VECTORS, tmp_path, "hnsw")
    assert description.parameters["efSearch"] == 2
    assert not description.reaches_floor
    assert description.recall_at_10 < 0.9


def test_lists_that_find_too_little_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_PROBED_LISTS", (1,))
    monkeypatch.setattr(lists, "_CANDIDATES", (1,))
    assert not build_index(VECTORS, tmp_path, "rabitq").reaches_floor


def test_the_effort_is_raised_until_the_floor_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EF_SEARCH", (1, 512, 1_024))
    description = build_index(VECTORS, tmp_path, "hnsw")
    assert description.parameters["efSearch"] == 512
    assert description.reaches_floor
