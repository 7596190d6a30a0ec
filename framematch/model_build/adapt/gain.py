"""Measures on held-out photos what a linear map gains, for known products and for products it never saw. No I/O.

The last quarter of each product's photos is held out; the others are enrolled, and the nearest enrolled photo names the
product. For products that the map never saw, they are divided into folds, and each fold is left out of the fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framematch.core.arrays import Embeddings
from framematch.model_build.adapt.discriminant import LinearMap, Rows

Mask = npt.NDArray[np.bool_]
Fit = Callable[[Mask], LinearMap]
"""Fits a map by the photos of a mask [N], and their variations."""

_FOLDS = 5
_DRAWS = 2000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Change:
    """A figure before and after, its difference, and the difference's 95 % interval by a bootstrap over products."""

    name: str
    before: float
    after: float
    low: float
    high: float
    pictures: int

    @property
    def gained(self) -> bool:
        """Whether the interval is above zero."""
        return self.low > 0


@dataclass(frozen=True)
class Report:
    """What a map changes. `strangers` is AUROC, the others are shares of held-out photos with the right product first.

    `new_products` were left out of the fit and are enrolled; `strangers` were left out of the fit and of the catalogue.
    """

    known: Change
    new_products: Change
    strangers: Change


def measure_gain(features: Embeddings, products: Rows, fit: Fit) -> Report:
    """Compare unit `features` [N, F] of the photos of `products` [N], sorted by product, with their mapped embeddings.

    Each product needs at least four photos.
    """
    held_out = _last_quarter(products)
    linear = fit(~held_out)
    known = [_first_is_right(space, products, held_out, held_out) for space in (features, linear(features))]
    new: list[list[npt.NDArray[np.float64]]] = [[], []]
    strangers: list[list[npt.NDArray[np.float64]]] = [[], []]
    order = []
    for fold in range(_FOLDS):
        unseen = products % _FOLDS == fold
        mapped = fit(~held_out & ~unseen)(features)
        order.append(products[held_out & unseen])
        for place, space in enumerate((features, mapped)):
            new[place].append(_first_is_right(space, products, held_out, held_out & unseen))
            strangers[place].append(_stands_out(space, held_out, unseen))
    rows = np.concatenate(order)
    return Report(
        known=_change("known products", known, products[held_out]),
        new_products=_change("new products, enrolled", [np.concatenate(part) for part in new], rows),
        strangers=_change("strangers told apart (AUROC)", [np.concatenate(part) for part in strangers], rows),
    )


def _last_quarter(products: Rows) -> Mask:
    """The last quarter of each product's photos: neighbours often show one scene, so a random choice is easier."""
    mask = np.zeros(len(products), bool)
    for row in np.unique(products):
        places = np.flatnonzero(products == row)
        mask[places[-max(1, len(places) // 4) :]] = True
    return mask


def _first_is_right(space: Embeddings, products: Rows, held_out: Mask, asked: Mask) -> npt.NDArray[np.float64]:
    """For each of the `asked` photos 1.0 if the nearest photo that is not held out has its product, else 0.0."""
    nearest = (space[asked] @ space[~held_out].T).argmax(axis=1)
    return np.asarray(products[~held_out][nearest] == products[asked], np.float64)


def _stands_out(space: Embeddings, held_out: Mask, unseen: Mask) -> npt.NDArray[np.float64]:
    """For each held-out photo of an unseen product the share of known ones with a higher best similarity."""
    gallery = space[~held_out & ~unseen].T
    known = np.sort((space[held_out & ~unseen] @ gallery).max(axis=1))
    scores = (space[held_out & unseen] @ gallery).max(axis=1)
    below = np.searchsorted(known, scores, "left") + np.searchsorted(known, scores, "right")
    return np.asarray(1 - below / (2 * len(known)), np.float64)


def _change(name: str, values: Sequence[npt.NDArray[np.float64]], products: Rows) -> Change:
    before, after = values
    rows, places = np.unique(products, return_inverse=True)
    gains = np.bincount(places, weights=after - before)
    counts = np.bincount(places)
    drawn = np.random.default_rng(0).integers(0, len(rows), (_DRAWS, len(rows)))
    means = gains[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Change(name, float(before.mean()), float(after.mean()), float(low), float(high), len(products))
