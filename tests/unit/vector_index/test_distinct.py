"""Vectors that are there more than once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.vector_index import distinct
from framematch.vector_index.distinct import check_distinct, distinct_rows
from tests.unit.vector_index.vectors import unit_vectors


@given(st.lists(st.integers(0, 9), max_size=40), st.sampled_from([1, 2, 3, 4, 48]))
def test_each_row_is_the_distinct_one_with_its_number(picked: list[int], dimension: int) -> None:
    vectors = unit_vectors(10, 48)[picked, :dimension]
    rows, numbers = distinct_rows(vectors)
    assert (vectors[rows][numbers] == vectors).all()
    assert len(rows) == len(np.unique(vectors.astype(np.float16), axis=0))
    assert (np.diff(rows) > 0).all()


def test_the_first_of_equal_rows_stands_for_all() -> None:
    vectors = unit_vectors(3)[[2, 0, 2, 1, 0]]
    rows, numbers = distinct_rows(vectors)
    assert rows.tolist() == [0, 1, 3]
    assert numbers.tolist() == [0, 1, 0, 2, 1]


def test_rows_that_are_equal_in_half_precision_are_equal() -> None:
    vector = unit_vectors(1).astype(np.float16).astype(np.float32)
    rows, numbers = distinct_rows(np.concatenate([vector, vector * np.float32(1 + 1e-6)]))
    assert rows.tolist() == [0]
    assert numbers.tolist() == [0, 0]


def test_a_repetition_beyond_a_block_is_found() -> None:
    vectors = unit_vectors(20_000, 8)
    vectors[19_000] = vectors[70]
    with pytest.raises(ValueError, match="row 19000 repeats row 70"):
        check_distinct(vectors)


def test_rows_with_equal_hashes_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_hashes", lambda vectors: np.zeros(len(vectors), np.uint64))
    vectors = unit_vectors(3)[[0, 1, 0, 2, 1]]
    assert distinct_rows(vectors)[1].tolist() == [0, 1, 0, 2, 1]
