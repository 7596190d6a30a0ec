"""Which products have a vector."""

import pytest

from framematch.matching.vector_products import VectorProducts
from tests.unit.catalog.snapshots import row_table


def test_views_that_look_the_same_share_a_vector() -> None:
    products = VectorProducts(row_table(("b", "a", "b", "c", "a"), (1, 0, 1, 1, 1)), 2)
    assert [products[vector] for vector in range(len(products))] == [("a",), ("a", "b", "c")]
    assert products.products() == {"a", "b", "c"}


@pytest.mark.parametrize("vectors", [(0, 1, 2), (2, 0, 1)])
def test_a_vector_of_one_view_has_its_product(vectors: tuple[int, ...]) -> None:
    ids = ("a", "b", "c")
    products = VectorProducts(row_table(ids, vectors), 3)
    assert [products[vector] for vector in vectors] == [(key,) for key in ids]
