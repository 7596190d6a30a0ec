"""Vectors that lie as embeddings of product photos do, so that an index has as much to do as with real ones.

Uniform noise would tell little: in 512 dimensions all its vectors are about equally far from each other, and every
approximate index fails. Real embeddings share a direction, lie in groups, and vary in few dimensions. So a vector here
is a sum of four parts, of unit length together: what all have in common, a category, a product, and a view. Each part
varies in 96 directions, the i-th with the variance 1/i, which is like 16 equal ones; a little noise fills all 512.
Two random vectors have a cosine of about 0.5, two of a category 0.7, two views of a product 0.85.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings

DIMENSION = 512
_LATENT = 96
_VIEWS = 4  # of a product
_PRODUCTS_OF_CATEGORY = 250
_COMMON, _CATEGORY, _PRODUCT, _VIEW, _NOISE = 0.7, 0.45, 0.4, 0.3, 0.25
_QUERY_VIEW = 0.5  # a camera's view differs more from the catalogue's than these from each other
_BLOCK = 8_192


@dataclass(frozen=True)
class Catalogue:
    """Where the products of a catalogue with this many vectors lie."""

    rows: int
    basis: NDArray[np.float32]  # [96, 512]
    products: NDArray[np.float32]  # [products, 96]

    @classmethod
    def of(cls, rows: int) -> "Catalogue":
        """The same each time."""
        rng = np.random.default_rng(rows)
        basis = np.linalg.qr(rng.standard_normal((DIMENSION, _LATENT)))[0].T.astype(np.float32)
        products = -(-rows // _VIEWS)
        categories = _CATEGORY * _part(rng, -(-products // _PRODUCTS_OF_CATEGORY))
        centres = _PRODUCT * _part(rng, products)
        centres += _COMMON * np.eye(1, _LATENT, dtype=np.float32) + categories[np.arange(products) % len(categories)]
        return cls(rows, basis, centres)

    def write(self, path: Path) -> None:
        """All views of the catalogue as a .npy file of float32 [rows, 512]."""
        rng = np.random.default_rng(1)
        file = np.lib.format.open_memmap(path, "w+", np.float32, (self.rows, DIMENSION))
        for start in range(0, self.rows, _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, self.rows)) // _VIEWS
            file[start : start + len(numbers)] = self._views(rng, numbers, _VIEW)
        file.flush()

    def queries(self, count: int) -> Embeddings:
        """New views of products, float32 [count, 512], as a camera would take them."""
        rng = np.random.default_rng(2)
        return self._views(rng, rng.integers(0, len(self.products), count), _QUERY_VIEW)

    def _views(self, rng: np.random.Generator, products: NDArray[np.int64], spread: float) -> Embeddings:
        vectors = (self.products[products] + spread * _part(rng, len(products))) @ self.basis
        vectors += _NOISE * rng.standard_normal(vectors.shape, np.float32) / np.float32(DIMENSION**0.5)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _part(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Random directions of about unit length in the latent space, float32 [count, 96]."""
    variances = 1 / np.arange(1, _LATENT + 1)
    scale = np.sqrt(variances / variances.sum()).astype(np.float32)
    return np.asarray(rng.standard_normal((count, _LATENT), np.float32) * scale, np.float32)
