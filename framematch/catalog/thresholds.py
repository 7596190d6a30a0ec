"""Estimates from the catalogue alone how similar, and how far ahead of the second product, a match must be."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

METHOD: Final = "nearest-impostor quantile"
METHOD_SINGLE: Final = "a single product: fixed"

# Share of strangers, pictured as the catalogue pictures its own, that would be accepted; see `estimate_thresholds`.
FALSE_ACCEPT_RATE = 0.5
# Share of the lead over the second product, as a perfect photograph has it, that a match needs.
MARGIN_SHARE = 0.10
# Pictures that are all but the same stand for two products under one picture, and say nothing about strangers.
SAME_PICTURE = 0.9995
# Used when there is no other product to compare with.
SINGLE_PRODUCT_MATCH = 0.8
# Enough for a quantile (its error is below 1 % of rank) at a cost that does not grow with the square of the catalogue.
SAMPLED_VIEWS = 2_000
_CHUNK_VIEWS = 128


@dataclass(frozen=True)
class ThresholdEstimate:
    """Cosine similarities: the least for a match and the least lead; `impostors` is how many pairs stand behind it."""

    match: float
    margin: float
    method: str
    false_accept_rate: float | None
    impostors: int


def nearest_impostors(embeddings: NDArray[np.float32], products: NDArray[np.int64]) -> NDArray[np.float32]:
    """For each view the similarity of the nearest view of another product; shape [min(N, SAMPLED_VIEWS)] or [0].

    Args:
        embeddings: unit-length rows, float32 [N, D].
        products: a number for the product of each row, int64 [N].
    """
    if np.all(products == products[:1]):
        return np.empty(0, np.float32)
    sample = np.arange(len(products))
    if len(sample) > SAMPLED_VIEWS:
        sample = np.random.default_rng(0).choice(sample, SAMPLED_VIEWS, replace=False)
    nearest = np.empty(len(sample), np.float32)
    for start in range(0, len(sample), _CHUNK_VIEWS):
        rows = sample[start : start + _CHUNK_VIEWS]
        similarity = embeddings[rows] @ embeddings.T
        similarity[products[rows][:, None] == products[None, :]] = -np.inf
        nearest[start : start + len(rows)] = similarity.max(axis=1)
    return nearest


def estimate_thresholds(embeddings: NDArray[np.float32], products: NDArray[np.int64]) -> ThresholdEstimate:
    """Thresholds from the catalogue's own pictures, until they are calibrated on frames.

    Each view, compared with the products that it does not show, stands for a picture of a stranger: a product that the
    catalogue lacks (leave one out). `match` is the similarity that `FALSE_ACCEPT_RATE` of these reach. Products that
    look alike raise it, a model that crowds all embeddings together raises it too: the scale is the catalogue's own.

    A rate of one half looks high, and is: camera frames are further from the catalogue than its pictures are from each
    other, strangers and true products alike. With the model of `demo` and its 120 photos, a rate of 0.1 accepted 7 % of
    strangers and 55 % of the photos whose nearest product was the right one, and 0.5 accepted 31 % and 89 %.
    A false-accept rate to rely on needs frames of the cameras themselves.

    `margin` is `MARGIN_SHARE` of the lead that a perfect photograph (similarity 1) has over the median nearest other
    product.

    Args:
        embeddings: unit-length rows, float32 [N, D]; N is at least 1.
        products: a number for the product of each row, int64 [N].
    """
    nearest = nearest_impostors(embeddings, products)
    strangers = nearest[nearest < SAME_PICTURE]
    if strangers.size == 0:
        return ThresholdEstimate(SINGLE_PRODUCT_MATCH, 0.0, METHOD_SINGLE, None, 0)
    match = float(np.quantile(strangers, 1 - FALSE_ACCEPT_RATE))
    margin = MARGIN_SHARE * (1 - float(np.median(strangers)))
    return ThresholdEstimate(match, margin, METHOD, FALSE_ACCEPT_RATE, int(strangers.size))
