"""Measures products that the encoder never saw: `python -m demo.model.unseen GROCERY_DIR --out DIR`.

Ten times ten products are left out of the fit, by the features that `demo.model.build` kept in DIR. They are strangers
first, and then enrolled among all 81 products with the catalogue's picture and five `train` photos. The best
similarity to any enrolled picture counts.
"""

import argparse
from pathlib import Path

import numpy as np

from demo.model.build import Features, load_features
from demo.model.retrieval import PHOTOS_PER_PRODUCT, accuracy, auroc
from framematch.core.arrays import Embeddings

_DRAWS, _LEFT_OUT = 10, 10


def main() -> None:
    """Print the mean over the draws, and the range."""
    parser = argparse.ArgumentParser(description="Measure products that the encoder never saw.")
    parser.add_argument("grocery", type=Path, metavar="GROCERY_DIR", help="a copy of GroceryStoreDataset")
    parser.add_argument("--out", type=Path, required=True, help="the folder of demo.model.build")
    arguments = parser.parse_args()
    features = load_features(arguments.grocery, arguments.out)
    found = [measure(features, draw) for draw in range(_DRAWS)]
    for name in found[0]:
        values = [one[name] for one in found]
        print(f"{name}: {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


def measure(features: Features, draw: int) -> dict[str, float]:
    """The figures of one draw of left-out products and of enrolled photos."""
    rng = np.random.default_rng(draw)
    count = len(features.iconic)
    left_out = np.sort(rng.permutation(count)[:_LEFT_OUT])
    known = np.setdiff1d(np.arange(count), left_out)
    linear = features.fit(known.tolist())
    photos = np.stack(
        [
            rng.choice(np.flatnonzero(features.train_products == row), PHOTOS_PER_PRODUCT, replace=False)
            for row in range(count)
        ]
    )
    train, val = linear(features.train), linear(features.val)
    views = np.concatenate([linear(features.iconic)[:, np.newaxis], train[photos]], axis=1)
    others = np.setdiff1d(np.flatnonzero(np.isin(features.train_products, left_out)), photos)
    queries = {
        "val photos": (val, features.val_products),
        "train photos": (train[others], features.train_products[others]),
    }
    mine = _best_views(val[np.isin(features.val_products, known)], views)[:, known].max(axis=1)
    found = {}
    for name, (pictures, products) in queries.items():
        new = np.isin(products, left_out)
        similarity = _best_views(pictures[new], views)
        share = accuracy(similarity, products[new])
        found[f"strangers, {name}, AUROC"] = auroc(mine, similarity[:, known].max(axis=1))
        found |= {f"enrolled, {name}, top-1": share.top1, f"enrolled, {name}, top-5": share.top5}
    return found


def _best_views(pictures: Embeddings, views: Embeddings) -> Embeddings:
    """The similarity [N, products] of each picture [N, D] to the nearest of each product's views [products, V, D]."""
    return np.asarray(np.einsum("nd,pvd->npv", pictures, views).max(axis=2), np.float32)


if __name__ == "__main__":
    main()
