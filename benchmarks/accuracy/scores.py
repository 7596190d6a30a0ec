"""From unit vectors to the similarity of each photo to each product: what the product does, and what was tried beside.

All functions take photos [N, D] and the views of products [P, V, D], and return [N, P].
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from framematch.core.arrays import Embeddings
from framematch.model_build.adapt.discriminant import unit

_COHORT = 20
"""How many of the most similar other products a normalised score compares with."""
_TEXT_WEIGHT = 0.5

Score = Callable[[Embeddings, Embeddings, Embeddings], Embeddings]
"""Of photos, views and the vectors of the products' names [P, D]."""


def best_view(photos: Embeddings, views: Embeddings, _names: Embeddings | None = None) -> Embeddings:
    """The similarity of the most similar view, as consumers decide."""
    return np.asarray(np.einsum("nd,pvd->npv", photos, views).max(axis=2))


def mean_view(photos: Embeddings, views: Embeddings, _names: Embeddings) -> Embeddings:
    """The similarity to the mean of a product's views."""
    return np.asarray(photos @ unit(views.mean(axis=1)).T)


def with_text(photos: Embeddings, views: Embeddings, names: Embeddings) -> Embeddings:
    """The best view, and the name, each standardised over the photo's similarities: their scales differ."""
    return np.asarray(_standardised(best_view(photos, views)) + _TEXT_WEIGHT * _standardised(photos @ names.T))


def normalised(photos: Embeddings, views: Embeddings, _names: Embeddings) -> Embeddings:
    """Adaptive symmetric normalisation: what a photo, and what a product, has with those most similar to it."""
    plain = best_view(photos, views)
    between = best_view(unit(views.mean(axis=1)), views)
    np.fill_diagonal(between, -np.inf)
    of_photo, of_product = _cohort(plain), _cohort(between)
    return np.asarray(0.5 * ((plain - of_photo[0]) / of_photo[1] + (plain - of_product[0].T) / of_product[1].T))


SCORES: Mapping[str, Score] = MappingProxyType(
    {"best view": best_view, "mean of views": mean_view, "with the name": with_text, "normalised": normalised}
)


def _standardised(similarity: Embeddings) -> Embeddings:
    mean, deviation = similarity.mean(axis=1, keepdims=True), similarity.std(axis=1, keepdims=True)
    return np.asarray((similarity - mean) / deviation)


def _cohort(similarity: Embeddings) -> tuple[Embeddings, Embeddings]:
    """Mean and deviation [N, 1] of the highest similarities of each row, without the very highest."""
    highest = np.sort(similarity, axis=1)[:, -_COHORT - 1 : -1]
    return highest.mean(axis=1, keepdims=True), highest.std(axis=1, keepdims=True)
