"""Fits the discriminant for a bundle's image tower to labelled photos, and measures what it gains."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framematch.core.arrays import Embeddings
from framematch.core.errors import ModelError
from framematch.core.progress import OnProgress
from framematch.model_build.adapt.crops import shrunk, vary
from framematch.model_build.adapt.discriminant import LinearMap, Rows, fit_discriminant
from framematch.model_build.adapt.gain import Mask, Report, measure_gain
from framematch.model_build.adapt.photos import MIN_PHOTOS, MIN_PRODUCTS, LabelledPhotos, find_photos, read_photos
from framematch.model_build.bundles.bundle import Bundle
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession, embed_pictures
from framematch.vision.manifest import IMAGE_MODEL
from framematch.vision.preprocess import Preprocessor

SHRINKAGE = 0.1
DIMENSION = 128
# Each photo is embedded as it is, and in so many variations, which only the fit uses.
VARIATIONS = 2
# Photos are read at this multiple of the tower's side, so that crops are not enlarged much.
_READ_SCALE = 1.5


@dataclass(frozen=True)
class Samples:
    """Unit features [N, F] of pictures, the rows of their products [N], and the number of each one's photo [N]."""

    features: Embeddings
    products: Rows
    photos: Rows

    def of(self, photos: Rows) -> "Samples":
        """Those of these photos."""
        return self._where(np.isin(self.photos, photos))

    def only(self, products: Rows) -> "Samples":
        """Those of these products, whose rows become 0, 1, …."""
        kept = self._where(np.isin(self.products, products))
        return Samples(kept.features, np.searchsorted(products, kept.products), kept.photos)

    def _where(self, mask: Mask) -> "Samples":
        return Samples(self.features[mask], self.products[mask], self.photos[mask])

    @classmethod
    def joined(cls, parts: Sequence["Samples"]) -> "Samples":
        """All samples of the parts."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.products for part in parts]),
            np.concatenate([part.photos for part in parts]),
        )


@dataclass(frozen=True)
class Adaptation:
    """A fitted map, what it gains on photos that were held out, and what it was fitted to."""

    linear: LinearMap
    report: Report
    names: list[str]
    photos: int
    unreadable: int
    left_out: int


def adapt(bundle: Bundle, folder: Path, *, on_progress: OnProgress = lambda _done, _total: None) -> Adaptation:
    """Fit a map to the photos in `folder`, a subfolder for each product. `on_progress` counts photos.

    Raises:
        ModelError: there are too few products or readable photos, or the bundle is not usable.
    """
    photos = find_photos(folder)
    whole, varied = _embed(bundle, photos, on_progress)
    counts = np.bincount(whole.products, minlength=len(photos.names))
    enough: Rows = np.flatnonzero(counts >= MIN_PHOTOS)
    if len(enough) < MIN_PRODUCTS:
        raise ModelError(
            f"{folder} has {len(enough)} products with at least {MIN_PHOTOS} photos that can be read, "
            f"{MIN_PRODUCTS} are needed",
            hint="The log names the photos that cannot be read",
        )
    unreadable = len(photos.files) - len(whole.products)
    whole, varied = whole.only(enough), varied.only(enough)

    def fit(chosen: Mask) -> LinearMap:
        return fit_map(Samples.joined([whole.of(whole.photos[chosen]), varied.of(whole.photos[chosen])]))

    return Adaptation(
        linear=fit(np.ones(len(whole.products), bool)),
        report=measure_gain(whole.features, whole.products, fit),
        names=[photos.names[row] for row in enough.tolist()],
        photos=len(whole.products),
        unreadable=unreadable,
        left_out=photos.left_out + len(photos.names) - len(enough),
    )


def fit_map(samples: Samples) -> LinearMap:
    """The discriminant with this module's numbers."""
    return fit_discriminant(samples.features, samples.products, dimension=DIMENSION, shrinkage=SHRINKAGE)


def _embed(bundle: Bundle, photos: LabelledPhotos, on_progress: OnProgress) -> tuple[Samples, Samples]:
    """The samples of whole photos, and of their variations."""
    spec = bundle.preprocess
    session = OnnxSession(fold_towers(bundle)[IMAGE_MODEL].graph)
    preprocess = Preprocessor(spec, "fast")  # the default of `catalog build`
    side_px = round(_READ_SCALE * max(spec.crop_height, spec.crop_width))
    numbers, embedded = [], []
    for number, photo in read_photos(photos, lambda done: on_progress(done, len(photos.files))):
        rng = np.random.default_rng(number)
        small = shrunk(photo, side_px)
        pictures = [photo, *(vary(small, rng) for _ in range(VARIATIONS))]
        embedded.append(embed_pictures(session, np.stack([preprocess(picture) for picture in pictures])))
        numbers.append(number)
    on_progress(len(photos.files), len(photos.files))
    if not numbers:
        raise ModelError(f"no photo of {len(photos.files)} can be read", hint="The log says why")
    kept, features = np.array(numbers), np.stack(embedded)
    rows = photos.products[kept]
    return (
        Samples(features[:, 0], rows, kept),
        Samples(np.concatenate(features[:, 1:]), np.repeat(rows, VARIATIONS), np.repeat(kept, VARIATIONS)),
    )
