"""How often the right product is first, or among five: by what is enrolled, under worse conditions, by score."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.pictures import EncodedDataset
from benchmarks.accuracy.scores import SCORES, best_view
from benchmarks.harness import Figure, Results
from framematch.core.arrays import Embeddings

_TOP = 5
_VIEWS = (1, 3, 5)
_RESAMPLES = 2_000
_INTERVAL = (2.5, 97.5)


def enrolled(data: EncodedDataset, views: int) -> Embeddings:
    """[P, 1 + views, D]: the iconic picture and `views` photos of each product."""
    return np.concatenate([data.iconic[:, None], data.views[:, :views]], axis=1)


def measure(data: EncodedDataset) -> Results:
    """Top-1 and top-5 as shares; intervals are over photos, by bootstrap of the products."""
    found = Results()
    full = enrolled(data, max(_VIEWS))
    for views in (0, *_VIEWS):
        _add(
            found,
            f"iconic + {views} photos" if views else "iconic",
            data,
            best_view(data.photos, enrolled(data, views)),
        )
    for condition, photos in data.conditions.items():
        _add(found, condition, data, best_view(photos, full))
    plain = _first(best_view(data.photos, full), data.products)
    for name, score in list(SCORES.items())[1:]:
        other = _first(score(data.photos, full, data.names), data.products)
        found.figures[f"{name} - best view"] = share_figure(other.astype(float) - plain, data.products, "top-1 gain")
    return found


def share_figure(values: NDArray[np.floating], products: NDArray[np.int64], unit: str) -> Figure:
    """The mean of `values` [N], and its 95 % interval when whole products are drawn again."""
    drawn = list(_resampled(values, products))
    low, high = np.percentile(drawn, _INTERVAL)
    return Figure(float(values.mean()), float(low), float(high), unit)


def _resampled(values: NDArray[np.floating], products: NDArray[np.int64]) -> Iterator[float]:
    names, numbers = np.unique(products, return_inverse=True)
    sums, counts = np.bincount(numbers, values), np.bincount(numbers)
    rng = np.random.default_rng(0)
    for _ in range(_RESAMPLES):
        chosen = rng.integers(0, len(names), len(names))
        yield float(sums[chosen].sum() / counts[chosen].sum())


def _add(found: Results, name: str, data: EncodedDataset, similarity: Embeddings) -> None:
    rank = _rank(similarity, data.products)
    found.figures[f"{name}, top-1"] = share_figure((rank < 1).astype(float), data.products, "share")
    found.figures[f"{name}, top-5"] = share_figure((rank < _TOP).astype(float), data.products, "share")


def _first(similarity: Embeddings, products: NDArray[np.int64]) -> NDArray[np.bool_]:
    return _rank(similarity, products) < 1


def _rank(similarity: Embeddings, products: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many products are more similar than the right one."""
    right = similarity[np.arange(len(products)), products]
    return np.asarray((similarity > right[:, None]).sum(axis=1))
