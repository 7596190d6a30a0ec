"""Figures of retrieval, compared with figures counted by hand."""

import numpy as np

from demo.model.retrieval import (
    PHOTOS_PER_PRODUCT,
    Accuracy,
    Encoded,
    accuracy,
    auroc,
    auroc_against,
    by_enrolment,
    draw_photos,
    enrolled,
)
from framematch.model_build.adapt.discriminant import unit


def encoded(noise: float = 0.0) -> Encoded:
    """Six products along six axes, six `train` photos of each, two queries for each of the first four."""
    rng = np.random.default_rng(0)
    axes = np.eye(6, dtype=np.float32)

    def near(rows: np.ndarray) -> np.ndarray:
        return unit(axes[rows] + noise * rng.normal(size=(len(rows), 6)).astype(np.float32))

    train, queries = np.repeat(np.arange(6), 6), np.repeat(np.arange(4), 2)
    return Encoded(axes, axes, axes, near(train), train, near(queries), queries)


def test_accuracy_counts_the_first_and_the_first_five() -> None:
    similarity = np.array([[0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]] * 3, np.float32)
    assert accuracy(similarity, np.array([0, 2, 1])) == Accuracy(1 / 3, 1 / 3)
    assert accuracy(similarity, np.array([0, 3, 6])) == Accuracy(1 / 3, 1.0)


def test_auroc_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    assert auroc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert auroc([0.1], [0.1]) == 0.5
    assert auroc([0.3, 0.1], [0.2]) == 0.5


def test_clean_embeddings_find_every_product_whatever_is_enrolled() -> None:
    found = by_enrolment(encoded(), list(range(6)), draws=2)
    assert len(found) == 7
    assert {share.top1 for share in found.values()} == {1.0}


def test_an_enrolled_product_has_unit_length() -> None:
    data = encoded(noise=0.2)
    gallery = enrolled(data, range(6), draw_photos(data, range(6), 0))
    np.testing.assert_allclose(np.linalg.norm(gallery, axis=1), 1, atol=1e-6)


def test_drawn_photos_are_of_the_product_and_differ() -> None:
    data = encoded(noise=0.1)
    photos = draw_photos(data, [2, 5], 0)
    assert photos.shape == (2, PHOTOS_PER_PRODUCT, 6)
    assert (photos.argmax(axis=2) == np.array([[2], [5]])).all()
    assert len({photo.tobytes() for photo in photos[0]}) == PHOTOS_PER_PRODUCT


def test_the_products_of_queries_are_indices_into_the_known_products() -> None:
    _, truth = encoded().queries_of([3, 1])
    assert truth.tolist() == [1, 1, 0, 0]


def test_photos_of_unknown_products_score_lower_when_the_space_is_clean() -> None:
    data = encoded(noise=0.05)
    known = [0, 1, 2, 4, 5]
    found = auroc_against(data, known, data.queries[data.query_products == 3], 0)
    assert found["best similarity"] == 1.0
