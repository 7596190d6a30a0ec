"""Builds the demo's encoder: `python -m demo.model.build GROCERY_DIR --out DIR`.

Uses only pretrained weights, the data set's `train` photos and the demo's catalogue. Nothing is trained by gradients:
the features of all pictures are computed once, in about five minutes on two cores, and kept in DIR; the rest takes
seconds. A run that was interrupted goes on where it stopped.
"""

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from demo.model.bundle_files import PREPROCESS, write_bundle
from demo.model.efficientnet import FEATURES, SIDE_PX, image_tower
from demo.model.grocery import Photos, Product, load_photos, load_products, read_rgb
from demo.model.iconic import vary_iconic
from demo.model.text_tower import fit_table, make_tokenizer, text_tower
from demo.model.weights import download_weights
from framematch.core.arrays import Embeddings, Pixels
from framematch.model_build.adapt.crops import vary
from framematch.model_build.adapt.discriminant import LinearMap, Rows, fit_discriminant, unit
from framematch.model_build.adapt.fold_map import append_map
from framematch.model_build.graphs.fold import fold_image_tower
from framematch.model_build.onnx_session import OnnxSession, embed_pictures
from framematch.vision.preprocess import Preprocessor

PHOTO_VARIATIONS, ICONIC_VARIATIONS = 2, 16
DIMENSION, SHRINKAGE = 80, 0.06
_PART = 256


@dataclass(frozen=True)
class Features:
    """Unit features of the pictures as they are, and of their varied copies, which have the suffix `_varied`.

    Copies follow each other picture by picture: all of the first, then all of the second.
    """

    iconic: Embeddings
    iconic_varied: Embeddings
    train: Embeddings
    train_varied: Embeddings
    train_products: Rows
    val: Embeddings
    val_products: Rows

    def fit(self, known: Sequence[int]) -> LinearMap:
        """The discriminant, fitted to the pictures of the products `known`."""
        products = np.arange(len(self.iconic))
        rows = [
            products, np.repeat(products, ICONIC_VARIATIONS),
            self.train_products, np.repeat(self.train_products, PHOTO_VARIATIONS),
        ]  # fmt: skip
        labels = np.concatenate(rows)
        features = np.concatenate([self.iconic, self.iconic_varied, self.train, self.train_varied])
        kept = np.isin(labels, known)
        return fit_discriminant(features[kept], labels[kept], dimension=DIMENSION, shrinkage=SHRINKAGE)


def main() -> None:
    """Compute the features, fit both towers, and write the bundle."""
    parser = argparse.ArgumentParser(description="Build the demo's encoder.")
    parser.add_argument("grocery", type=Path, metavar="GROCERY_DIR", help="a copy of GroceryStoreDataset")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights, the features and the bundle")
    arguments = parser.parse_args()
    if not (arguments.grocery / "train.txt").is_file():
        parser.error(f"no train.txt in {arguments.grocery}: give a copy of GroceryStoreDataset")
    print(build(arguments.grocery, arguments.out))


def build(grocery: Path, out: Path) -> Path:
    """Build the bundle below `out`, and return its folder.

    Raises:
        ModelError: the pretrained weights cannot be downloaded or read.
    """
    products, features = load_products(), load_features(grocery, out)
    linear = features.fit(range(len(products)))
    photos = linear(features.train)
    centres = unit(np.stack([photos[features.train_products == row].mean(axis=0) for row in range(len(products))]))
    tokenizer = make_tokenizer(products)
    table = fit_table(products, unit(centres + linear(features.iconic)), tokenizer)
    tower = append_map(image_tower(download_weights(out)), "image_embeds", linear)
    return write_bundle(out / "grocery-lite", tower, text_tower(table), tokenizer)


def load_features(grocery: Path, out: Path) -> Features:
    """The features of the catalogue, the `train` photos, their copies, and the `val` photos; they are kept in `out`.

    Raises:
        ModelError: the pretrained weights cannot be downloaded or read.
    """
    graph = fold_image_tower(image_tower(download_weights(out)), PREPROCESS, FEATURES).SerializeToString()
    file = out / f"features-{hashlib.sha256(graph).hexdigest()[:12]}.npz"
    if file.exists():
        with np.load(file) as arrays:
            return Features(**arrays)
    products, train, val = load_products(), load_photos(grocery, "train"), load_photos(grocery, "val")
    embed = partial(_embed, OnnxSession(graph), file.with_suffix(""))
    found = Features(
        iconic=embed("iconic", (product.iconic for product in products)),
        iconic_varied=embed("iconic-varied", _varied_iconic(products, train)),
        val=embed("val", val),
        val_products=val.products,
        train=embed("train", train),
        train_varied=embed("train-varied", _varied_photos(train)),
        train_products=train.products,
    )
    np.savez(file, **vars(found))
    return found


def _varied_iconic(products: Sequence[Product], train: Photos) -> Iterator[Pixels]:
    for row, product in enumerate(products):
        rng = np.random.default_rng([0, row])
        for _ in range(ICONIC_VARIATIONS):
            photo = read_rgb(train.files[int(rng.integers(len(train.files)))])
            yield vary_iconic(product.iconic, photo, SIDE_PX, rng)


def _varied_photos(train: Photos) -> Iterator[Pixels]:
    for number, photo in enumerate(train):
        rng = np.random.default_rng([1, number])
        for _ in range(PHOTO_VARIATIONS):
            yield vary(photo, rng)


def _embed(session: OnnxSession, parts: Path, name: str, pictures: Iterable[Pixels]) -> Embeddings:
    """Embed the pictures in parts, which are kept in files, so that another run finds them."""
    preprocess, left = Preprocessor(PREPROCESS, "fast"), iter(pictures)
    found: list[Embeddings] = []
    parts.mkdir(exist_ok=True)
    while part := list(islice(left, _PART)):
        file = parts / f"{name}-{len(found):03}.npy"
        if not file.exists():
            unfinished = file.with_suffix(".unfinished.npy")
            np.save(unfinished, embed_pictures(session, np.stack([preprocess(picture) for picture in part])))
            unfinished.rename(file)
            print(file.name, flush=True)
        found.append(np.load(file))
    return np.concatenate(found)


if __name__ == "__main__":
    main()
