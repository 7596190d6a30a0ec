"""Which products a run leaves out of training, to measure how well unknown ones are told from known ones."""

from collections.abc import Sequence

import numpy as np

from demo.model.grocery import Product


def known_products(catalogue: Sequence[Product], hold_out: int, seed: int) -> list[int]:
    """Rows of the catalogue that stay: all but `hold_out`, drawn at random by `seed`."""
    left_out = set(np.random.default_rng([seed, 2]).permutation(len(catalogue))[:hold_out].tolist())
    return [row for row in range(len(catalogue)) if row not in left_out]
