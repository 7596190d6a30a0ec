"""Measures how well embeddings find products, and how well they separate known from unknown products. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framematch.core.arrays import Embeddings
from framematch.model_build.adapt.discriminant import unit

Rows = npt.NDArray[np.int64]

PHOTOS_PER_PRODUCT = 5
_ENERGY_SCALE = 20.0
_TOP = 5


@dataclass(frozen=True)
class Encoded:
    """Unit embeddings of everything that is enrolled or used as a query.

    Rows of `iconic`, `names` and `descriptions` are products. `train` and `queries` are photos; `train_products` and
    `query_products` are the rows of their products.
    """

    iconic: Embeddings
    names: Embeddings
    descriptions: Embeddings
    train: Embeddings
    train_products: Rows
    queries: Embeddings
    query_products: Rows

    def queries_of(self, known: Sequence[int]) -> tuple[Embeddings, Rows]:
        """The queries of `known` products, and the index of each one's product in `known`."""
        position = {product: place for place, product in enumerate(known)}
        kept = np.isin(self.query_products, known)
        return self.queries[kept], np.array([position[product] for product in self.query_products[kept]], np.int64)


@dataclass(frozen=True)
class Accuracy:
    """The shares of queries whose product is first, and among the first five."""

    top1: float
    top5: float


def accuracy(similarity: Embeddings, truth: Rows) -> Accuracy:
    """The accuracy of `similarity` [N, products]; `truth` is the right column of each row."""
    rank = (similarity > similarity[np.arange(len(truth)), truth][:, np.newaxis]).sum(axis=1)
    return Accuracy(float((rank < 1).mean()), float((rank < _TOP).mean()))


def auroc(known: npt.ArrayLike, unknown: npt.ArrayLike) -> float:
    """The probability that a random known photo scores higher than a random unknown one; ties count half."""
    first, second = np.asarray(known)[:, np.newaxis], np.asarray(unknown)
    return float((first > second).mean() + 0.5 * (first == second).mean())


def draw_photos(encoded: Encoded, known: Sequence[int], seed: int) -> Embeddings:
    """[products, 5, D]: five of the `train` photos of each known product, drawn at random."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(np.flatnonzero(encoded.train_products == row), PHOTOS_PER_PRODUCT, replace=False) for row in known
    ]
    return np.asarray(encoded.train[np.stack(chosen)])


def enrolled(encoded: Encoded, known: Sequence[int], photos: Embeddings) -> Embeddings:
    """[products, D]: the mean of the iconic picture, the text (name and description) and the centre of the photos."""
    rows = list(known)
    text = unit(encoded.names + encoded.descriptions)[rows]
    return unit(encoded.iconic[rows] + text + unit(photos.mean(axis=1)))


def by_enrolment(encoded: Encoded, known: Sequence[int], draws: int) -> dict[str, Accuracy]:
    """Accuracy on the queries of `known` products, by what is enrolled; the mean over `draws` of five photos."""
    queries, truth = encoded.queries_of(known)
    rows = list(known)
    text = unit(encoded.names + encoded.descriptions)
    galleries = {
        "iconic picture": encoded.iconic,
        "name": encoded.names,
        "description": encoded.descriptions,
        "name and description": text,
        "iconic picture and text": unit(encoded.iconic + text),
    }
    found = {what: accuracy(queries @ gallery[rows].T, truth) for what, gallery in galleries.items()}
    nearest, mean = [], []
    for seed in range(draws):
        photos = draw_photos(encoded, known, seed)
        pictures = np.concatenate([encoded.iconic[rows][:, np.newaxis], photos], axis=1)
        nearest.append(accuracy(np.einsum("nd,pvd->npv", queries, pictures).max(axis=2), truth))
        mean.append(accuracy(queries @ enrolled(encoded, known, photos).T, truth))
    found["iconic picture and 5 photos, the most similar"] = _mean(nearest)
    found["iconic picture, text and 5 photos, their mean"] = _mean(mean)
    return found


def auroc_against(encoded: Encoded, known: Sequence[int], unknown: Embeddings, seed: int) -> dict[str, float]:
    """AUROC of each score, for the queries of `known` products against photos of `unknown` products."""
    gallery = enrolled(encoded, known, draw_photos(encoded, known, seed))
    queries, _ = encoded.queries_of(known)
    return {name: auroc(score(queries @ gallery.T), score(unknown @ gallery.T)) for name, score in SCORES.items()}


def _best(similarity: Embeddings) -> Embeddings:
    return np.asarray(similarity.max(axis=1))


def _energy(similarity: Embeddings) -> Embeddings:
    """Soft maximum over all products (Liu et al., 2020): a known photo is also similar to its product's neighbours."""
    return np.asarray(np.log(np.exp(_ENERGY_SCALE * similarity).sum(axis=1)) / _ENERGY_SCALE, np.float32)


def _margin(similarity: Embeddings) -> Embeddings:
    return np.asarray(np.diff(np.sort(similarity, axis=1)[:, -2:], axis=1)[:, 0])


SCORES: Mapping[str, Callable[[Embeddings], Embeddings]] = {
    "best similarity": _best,
    "energy": _energy,
    "margin": _margin,
}


def _mean(found: Sequence[Accuracy]) -> Accuracy:
    return Accuracy(
        float(np.mean([one.top1 for one in found])),
        float(np.mean([one.top5 for one in found])),
    )
