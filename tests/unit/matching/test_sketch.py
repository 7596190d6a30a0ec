"""Sketches of embeddings."""

import numpy as np
import pytest

from framematch.core.arrays import Embeddings
from framematch.matching.sketch import estimated_cosine, sketch_number, sketch_text, sketches

DIMENSION = 128


def pairs(cosine: float, count: int = 200) -> tuple[Embeddings, Embeddings]:
    """Unit vectors, and others at this cosine to them."""
    rng = np.random.default_rng(7)
    one, other = rng.standard_normal((2, count, DIMENSION)).astype(np.float32)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other -= (one * other).sum(axis=1, keepdims=True) * one
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return one, cosine * one + np.sqrt(1 - cosine**2) * other


def estimates(one: Embeddings, other: Embeddings) -> list[float]:
    numbers = [[int.from_bytes(sketch) for sketch in sketches(rows)] for rows in (one, other)]
    return [estimated_cosine(*pair) for pair in zip(*numbers, strict=True)]


@pytest.mark.parametrize(("cosine", "error"), [(1.0, 0.0), (0.95, 0.03), (0.7, 0.08), (0.0, 0.12), (-0.5, 0.1)])
def test_sketches_estimate_the_cosine_of_their_embeddings(cosine: float, error: float) -> None:
    found = np.asarray(estimates(*pairs(cosine)))
    assert abs(found.mean() - cosine) < 0.02
    assert found.std() <= error


def test_a_sketch_is_the_same_in_every_process_and_batch() -> None:
    vectors = np.eye(3, 4, dtype=np.float32)
    [first, *_] = sketches(vectors)
    assert sketches(vectors[:1]) == [first]
    assert first.hex().startswith("f819594d9b3bcc42")
    assert len(first) == 32


@pytest.mark.filterwarnings("error")
def test_a_row_without_an_embedding_disturbs_no_other() -> None:
    vectors = np.ones((2, 8), np.float32)
    vectors[0] = np.nan
    assert sketches(vectors)[1] == sketches(vectors[1:])[0]


def test_a_sketch_survives_its_way_through_an_event() -> None:
    [sketch] = sketches(np.ones((1, 8), np.float32))
    assert sketch_number(sketch_text(sketch)) == int.from_bytes(sketch)


@pytest.mark.parametrize("text", [None, "", "AAAA", "no base64!", "é" * 44])
def test_what_is_no_sketch_of_ours_is_none(text: str | None) -> None:
    assert sketch_number(text) is None
