"""Everything that is embedded once and then used by all parts: the catalogue's pictures, photos, their frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.conditions import CONDITIONS, frames_of
from benchmarks.accuracy.dataset import Dataset, Photo
from benchmarks.accuracy.embedding import BundleEncoder
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import UsageError

FRAMES = 10
"""Of each sighting."""
VIEWS = 5
"""The most photos of a product that are enrolled beside its iconic picture."""


@dataclass(frozen=True)
class EncodedDataset:
    """Unit vectors of a data set.

    `iconic` [P, D] and `names` [P, D] are those of the products. `views` [P, V, D] are photos of another split, which
    may be enrolled. `photos` [N, D] are those of the split that is measured, `products` [N] the numbers of their
    products, `frames` [N, FRAMES, D] each photo as a camera would send it, and `conditions` the photos under worse
    conditions. `categories` are those of the products.
    """

    iconic: Embeddings
    names: Embeddings
    views: Embeddings
    photos: Embeddings
    products: NDArray[np.int64]
    frames: Embeddings
    conditions: dict[str, Embeddings]
    categories: tuple[str, ...]


def encode_dataset(
    dataset: Dataset,
    split: str,
    encoder: BundleEncoder,
    *,
    enrolled_split: str,
    seed: int,
    report: Callable[[str], None],
) -> EncodedDataset:
    """Embed what the parts need; `report` says what is going on.

    Raises:
        UsageError: a split, or one of the files that it names, is missing; a product has too few photos to enrol.
        ModelError: the bundle's graph refuses the pictures.
    """

    def embed(what: str, pictures: Sequence[bytes]) -> Embeddings:
        report(f"{what}: {len(pictures)} pictures")
        return encoder.embed(pictures)

    photos = dataset.photos(split)
    pixels = [_read(photo.path) for photo in photos]
    views = _draw_views(dataset, enrolled_split, seed)
    frames = [frame for number, picture in enumerate(pixels) for frame in frames_of(picture, FRAMES, number)]
    dimension_first = (len(photos), FRAMES, -1)
    return EncodedDataset(
        iconic=embed("iconic pictures", [path.read_bytes() for path in dataset.iconic]),
        names=encoder.embed_texts(dataset.names),
        views=embed(f"photos of {enrolled_split}", [photo.path.read_bytes() for photo in views]).reshape(
            len(dataset.names), VIEWS, -1
        ),
        photos=embed(f"photos of {split}", [photo.path.read_bytes() for photo in photos]),
        products=np.array([photo.product for photo in photos], np.int64),
        frames=embed("frames", frames).reshape(dimension_first),
        conditions={
            name: embed(name, [condition(picture) for picture in pixels]) for name, condition in CONDITIONS.items()
        },
        categories=dataset.categories,
    )


def _draw_views(dataset: Dataset, split: str, seed: int) -> list[Photo]:
    """`VIEWS` random photos of each product, in the order of the products."""
    rng, photos = np.random.default_rng(seed), dataset.photos(split)
    chosen: list[Photo] = []
    for number, name in enumerate(dataset.names):
        own = [photo for photo in photos if photo.product == number]
        if len(own) < VIEWS:
            raise UsageError(f"{split} has {len(own)} photos of {name}, and {VIEWS} are enrolled of each product")
        chosen += [own[place] for place in rng.choice(len(own), VIEWS, replace=False)]
    return chosen


def _read(path: Path) -> Pixels:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise UsageError(f"cannot read {path}", hint="Is the data set complete?")
    return np.asarray(picture, np.uint8)
