"""Fisher's linear discriminant with shrinkage: the linear map that keeps what tells products apart. No I/O.

First the features are whitened by the covariance within products: directions in which pictures of one product differ
count less. Of the whitened directions those are kept in which the products' means differ most.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framematch.core.arrays import Embeddings

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LinearMap:
    """`matrix` float32 [F, D] and `bias` float32 [D]: unit features x become x @ matrix + bias, then unit length."""

    matrix: Embeddings
    bias: npt.NDArray[np.float32]

    def __call__(self, features: Embeddings) -> Embeddings:
        """Unit embeddings [N, D] of `features` [N, F], of any length."""
        return unit(unit(features) @ self.matrix + self.bias)


def fit_discriminant(features: Embeddings, products: Rows, *, dimension: int, shrinkage: float) -> LinearMap:
    """The map for `features` [N, F], of any length, of the pictures of `products` [N], at least two of them.

    It has at most one dimension less than there are products. `shrinkage`, as a share of the mean variance, is added to
    the variance within products in every direction: larger values trust the measured covariance less.
    """
    rows, places = np.unique(products, return_inverse=True)
    scaled = unit(features).astype(np.float64)
    members = np.zeros((len(rows), len(scaled)))
    members[places, np.arange(len(scaled))] = 1
    means = members @ scaled / members.sum(axis=1, keepdims=True)
    within = scaled - means[places]
    values, vectors = np.linalg.eigh(within.T @ within / len(within))
    whiten = (vectors * (values.clip(0) + shrinkage * values.mean()) ** -0.5) @ vectors.T
    middle = means.mean(axis=0)
    _, _, directions = np.linalg.svd((means - middle) @ whiten, full_matrices=False)
    matrix = whiten @ directions[: min(dimension, len(rows) - 1)].T
    return LinearMap(matrix.astype(np.float32), (-middle @ matrix).astype(np.float32))


def unit(rows: Embeddings) -> Embeddings:
    """Rows of unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)
