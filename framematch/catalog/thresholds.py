"""Estimates the thresholds of a match, similarity and margin, from the catalogue alone."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings

METHOD: Final = "nearest-impostor quantile"
METHOD_SINGLE: Final = "a single product: fixed"

# Share of unknown products, photographed like the catalogue's, that would be accepted; see `estimate_thresholds`.
FALSE_ACCEPT_RATE = 0.5
# Share of a perfect photograph's margin over the second product that a match needs.
MARGIN_SHARE = 0.10
# Above it two products share one picture, which says nothing about unknown products.
SAME_PICTURE = 0.9995
# Used for a catalogue of one product.
SINGLE_PRODUCT_MATCH = 0.8
# Enough for a quantile (an error below 1 % of rank), and the cost grows only linearly with the catalogue.
SAMPLED_VIEWS = 2_000
_CHUNK_VIEWS = 128


@dataclass(frozen=True)
class ThresholdEstimate:
    """The minimum cosine similarity and margin of a match; `impostors` is the number of pairs they are based on."""

    match: float
    margin: float
    method: str
    false_accept_rate: float | None
    impostors: int


def nearest_impostors(embeddings: Embeddings, products: NDArray[np.int64]) -> NDArray[np.float32]:
    """The similarity of each view's nearest view of another product; shape [min(N, SAMPLED_VIEWS)] or [0].

    `products` has a number for the product of each row of `embeddings`, int64 [N].
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


def estimate_thresholds(embeddings: Embeddings, products: NDArray[np.int64]) -> ThresholdEstimate:
    """Thresholds from the catalogue's own pictures, until they are calibrated on frames.

    Each view, compared with all other products, stands for a picture of an unknown product (leave one out). `match` is
    the similarity that the share `FALSE_ACCEPT_RATE` of these pictures reaches. Similar products raise it, and so does
    a model whose embeddings are all close together: the scale is the catalogue's own.

    A rate of one half is high on purpose: camera frames are less similar to the catalogue than its pictures are to each
    other, for known and unknown products alike. With the model of `demo` and its 120 photos, a rate of 0.1 accepted 7 %
    of unknown products and 55 % of the photos whose nearest product was right; 0.5 accepted 31 % and 89 %. A reliable
    false-accept rate needs frames of the cameras themselves.

    `margin` is `MARGIN_SHARE` of the margin of a perfect photograph (similarity 1) over the median nearest impostor.
    There is at least one row; `products` is as in `nearest_impostors`.
    """
    nearest = nearest_impostors(embeddings, products)
    impostors = nearest[nearest < SAME_PICTURE]
    if impostors.size == 0:
        return ThresholdEstimate(SINGLE_PRODUCT_MATCH, 0.0, METHOD_SINGLE, None, 0)
    match = float(np.quantile(impostors, 1 - FALSE_ACCEPT_RATE))
    margin = MARGIN_SHARE * (1 - float(np.median(impostors)))
    return ThresholdEstimate(match, margin, METHOD, FALSE_ACCEPT_RATE, int(impostors.size))
