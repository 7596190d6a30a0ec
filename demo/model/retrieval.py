"""How well embeddings find products, and tell known products from unknown ones: pure, from arrays to figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Embeddings = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

VIEWS = 5
_ENERGY_SCALE = 20.0
_TOP = 5


@dataclass(frozen=True)
class Encoded:
    """Unit embeddings of all there is to enrol and to ask.

    Rows of `iconic`, `names` and `descriptions` are products; `train` and `asked` are photos with their product's row.
    """

    iconic: Embeddings
    names: Embeddings
    descriptions: Embeddings
    train: Embeddings
    train_products: Rows
    asked: Embeddings
    asked_products: Rows

    def asked_of(self, known: Sequence[int]) -> tuple[Embeddings, Rows]:
        """The asked photos of `known` products, and each one's position in `known`."""
        position = {product: place for place, product in enumerate(known)}
        kept = np.isin(self.asked_products, known)
        return self.asked[kept], np.array([position[product] for product in self.asked_products[kept]], np.int64)


@dataclass(frozen=True)
class Accuracy:
    """Shares of 1: the right product first, and among the first five."""

    top1: float
    top5: float


def accuracy(similarity: Embeddings, truth: Rows) -> Accuracy:
    """Of [N, products], with the true column of each row."""
    rank = (similarity > similarity[np.arange(len(truth)), truth][:, np.newaxis]).sum(axis=1)
    return Accuracy(float((rank < 1).mean()), float((rank < _TOP).mean()))


def auroc(known: npt.ArrayLike, unknown: npt.ArrayLike) -> float:
    """The chance that a random known photo scores higher than a random unknown one; ties count half."""
    first, second = np.asarray(known)[:, np.newaxis], np.asarray(unknown)
    return float((first > second).mean() + 0.5 * (first == second).mean())


def draw_views(encoded: Encoded, known: Sequence[int], seed: int) -> Embeddings:
    """[products, 5, D]: five of the `train` photos of each known product, drawn at random."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(encoded.train_products == row), VIEWS, replace=False) for row in known]
    return np.asarray(encoded.train[np.stack(chosen)])


def enrolled(encoded: Encoded, known: Sequence[int], views: Embeddings) -> Embeddings:
    """[products, D]: the mean of the iconic picture, the text (name and description) and the centre of the views."""
    rows = list(known)
    text = unit(encoded.names + encoded.descriptions)[rows]
    return unit(encoded.iconic[rows] + text + unit(views.mean(axis=1)))


def by_enrolment(encoded: Encoded, known: Sequence[int], draws: int) -> dict[str, Accuracy]:
    """Accuracy on the asked photos of `known` products, by what is enrolled; the mean over `draws` of five views."""
    asked, truth = encoded.asked_of(known)
    rows = list(known)
    text = unit(encoded.names + encoded.descriptions)
    galleries = {
        "iconic picture": encoded.iconic,
        "name": encoded.names,
        "description": encoded.descriptions,
        "name and description": text,
        "iconic picture and text": unit(encoded.iconic + text),
    }
    found = {what: accuracy(asked @ gallery[rows].T, truth) for what, gallery in galleries.items()}
    most, mean = [], []
    for seed in range(draws):
        views = draw_views(encoded, known, seed)
        pictures = np.concatenate([encoded.iconic[rows][:, np.newaxis], views], axis=1)
        most.append(accuracy(np.einsum("nd,pvd->npv", asked, pictures).max(axis=2), truth))
        mean.append(accuracy(asked @ enrolled(encoded, known, views).T, truth))
    found["iconic picture and 5 photos, the most similar"] = _mean(most)
    found["iconic picture, text and 5 photos, their mean"] = _mean(mean)
    return found


def against_strangers(encoded: Encoded, known: Sequence[int], strangers: Embeddings, seed: int) -> dict[str, float]:
    """AUROC of each score for telling the asked photos of `known` products from `strangers`."""
    gallery = enrolled(encoded, known, draw_views(encoded, known, seed))
    asked, _ = encoded.asked_of(known)
    return {name: auroc(score(asked @ gallery.T), score(strangers @ gallery.T)) for name, score in SCORES.items()}


def unit(rows: Embeddings) -> Embeddings:
    """Rows of unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def _best(similarity: Embeddings) -> Embeddings:
    return np.asarray(similarity.max(axis=1))


def _energy(similarity: Embeddings) -> Embeddings:
    """Soft maximum over all products (Liu et al., 2020): a known photo is like several of its neighbours too."""
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
