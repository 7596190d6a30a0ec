"""The vectors of the benchmark of the index lie as its text says."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.index.vectors import Catalogue


def test_vectors_are_of_unit_length_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "other"):
        Catalogue.of(400).write(tmp_path / name)
    vectors = np.load(tmp_path / "one")
    assert vectors.shape == (400, 512)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert (vectors == np.load(tmp_path / "other")).all()


def test_cosines_are_those_of_embeddings(tmp_path: Path) -> None:
    catalogue = Catalogue.of(8_000)
    catalogue.write(tmp_path / "vectors")
    vectors = np.load(tmp_path / "vectors")
    cosines = vectors[::4][:1_000] @ vectors.T
    of_product = np.median([cosines[product, 4 * product + 1 : 4 * product + 4] for product in range(1_000)])
    assert np.median(cosines) == pytest.approx(0.5, abs=0.1)
    assert of_product == pytest.approx(0.85, abs=0.05)
    nearest = (catalogue.queries(500) @ vectors.T).max(axis=1)
    assert np.median(nearest) == pytest.approx(0.8, abs=0.05)
