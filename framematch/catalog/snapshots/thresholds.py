"""Estimates the thresholds of a match, similarity and margin, from the catalogue alone."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.snapshots.nearest import nearest
from framematch.core.arrays import Embeddings

METHOD: Final = "nearest-impostor quantile"
METHOD_FEW_PAIRS: Final = "too few pairs: fixed"
METHOD_SINGLE: Final = "a single product: fixed"
METHOD_CALIBRATED: Final = "calibrated"

# Share of unknown products, photographed like the catalogue's, that would be accepted; see `estimate_thresholds`.
FALSE_ACCEPT_RATE = 0.5
# Share of a perfect photograph's margin over the second product that a match needs.
MARGIN_SHARE = 0.10
# Above it two products share practically one picture, which says nothing about unknown products.
SAME_PICTURE = 0.99
# The share of unknown products above the median of n independent pairs has a standard deviation of 0.5 / sqrt(n): 9
# points of the stated 50 % with 30 pairs, 16 with 10, and with one pair the "median" is that pair.
MIN_PAIRS = 30
# Used when the catalogue gives fewer pairs. They refuse rather than invent.
FIXED_MATCH = 0.8
FIXED_MARGIN = 0.05
# No estimate leaves this range. Embeddings of unrelated pictures lie around 0 with a model that spreads them; a camera
# hardly ever sees a product as similar to its picture as variants of one product are in a catalogue.
MIN_MATCH, MAX_MATCH = 0.3, 0.95
# Enough for a quantile (an error below 1 % of rank), and the cost grows only linearly with the catalogue.
SAMPLED_VIEWS = 2_000
SHARED: Final = -1
"""Instead of the number of a product: the row is a picture of several products."""


@dataclass(frozen=True)
class ThresholdEstimate:
    """The minimum cosine similarity and margin of a match.

    `impostors` is the number of pairs, each of a picture and the nearest one of another product, that they are based
    on. `false_accept_rate` is the share of pictures that reach `match` with that nearest one; None when `match` is not
    based on them. Of calibrated thresholds, `impostors` is the number of pictures without a product of the catalogue,
    and `false_accept_rate` the share of such pictures that may reach `match`.
    """

    match: float
    margin: float
    method: str
    false_accept_rate: float | None
    impostors: int

    def explain(self) -> str:
        """What the thresholds are worth, in words."""
        if self.method == METHOD_CALIBRATED and self.false_accept_rate is not None:
            return (
                f"calibrated with {self.impostors} labelled pictures that must not match: at most "
                f"{100 * self.false_accept_rate:g} % of pictures like these are expected to reach the "
                "similarity of a match"
            )
        if self.false_accept_rate is not None:
            return (
                f"an estimate from {self.impostors} pairs of the catalogue's pictures: about "
                f"{self.false_accept_rate:.0%} of unknown products, photographed like the catalogue's, would reach "
                "the similarity of a match. `framematch catalog calibrate` finds the rate for your cameras"
            )
        if self.method == METHOD_FEW_PAIRS:
            return (
                f"fixed values, as an estimate needs {MIN_PAIRS} pairs of different pictures of two products, and the "
                f"catalogue has {self.impostors}. `framematch catalog calibrate` finds their rate"
            )
        return "fixed values, as there is no second product to compare with. The rate is not known"


@dataclass(frozen=True)
class Impostors:
    """For some views, by their row, the nearest view of another product and its similarity; each of shape [n]."""

    rows: NDArray[np.int64]
    nearest_rows: NDArray[np.int64]
    similarity: NDArray[np.float32]

    def pairs(self) -> int:
        """The number of different pairs: two views may be each other's nearest."""
        return len(np.unique(np.sort(np.stack([self.rows, self.nearest_rows]), axis=0), axis=1).T)

    def of_different_pictures(self) -> "Impostors":
        """Those that do not share practically one picture with the other product."""
        kept = self.similarity < SAME_PICTURE
        return Impostors(self.rows[kept], self.nearest_rows[kept], self.similarity[kept])


def nearest_impostors(embeddings: Embeddings, products: NDArray[np.int64]) -> Impostors:
    """The nearest view of another product for each view, or for `SAMPLED_VIEWS` of them; none with one product.

    `products` has a number for the product of each row of `embeddings`, int64 [N]; a row that is `SHARED` by several
    products is nearest to itself, so it is nobody's.
    """
    sample = np.flatnonzero(products != SHARED)
    if not len(sample) or np.all(products == products[0]):
        return Impostors(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    if len(sample) > SAMPLED_VIEWS:
        sample = np.random.default_rng(0).choice(sample, SAMPLED_VIEWS, replace=False)
    own = products[sample][:, None]
    similarity, rows = nearest(embeddings[sample], embeddings, lambda part: own == products[part])
    return Impostors(sample, rows, similarity)


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

    With fewer than `MIN_PAIRS` pairs of different pictures both are fixed, or as estimated where that is stricter.
    `match` is always from `MIN_MATCH` to `MAX_MATCH`. There is at least one row; `products` is as in
    `nearest_impostors`, and `embeddings` are finite.
    """
    found = nearest_impostors(embeddings, products)
    if products[0] != SHARED and np.all(products == products[0]):
        return ThresholdEstimate(FIXED_MATCH, FIXED_MARGIN, METHOD_SINGLE, None, 0)
    impostors = found.of_different_pictures()
    if not (pairs := impostors.pairs()):
        return ThresholdEstimate(FIXED_MATCH, FIXED_MARGIN, METHOD_FEW_PAIRS, None, 0)
    match = min(max(float(np.quantile(impostors.similarity, 1 - FALSE_ACCEPT_RATE)), MIN_MATCH), MAX_MATCH)
    margin = MARGIN_SHARE * (1 - float(np.median(impostors.similarity)))
    if pairs < MIN_PAIRS:
        match, margin = max(match, FIXED_MATCH), max(margin, FIXED_MARGIN)
        return ThresholdEstimate(match, margin, METHOD_FEW_PAIRS, None, pairs)
    return ThresholdEstimate(match, margin, METHOD, float(np.mean(impostors.similarity >= match)), pairs)
