"""What is done to the trained towers before they are exported: no more learning from pictures, a few minutes at most.

1. Batch normalisation is measured anew: the statistics of training belong to other weights than the kept average, and
   to cropped, relit pictures.
2. The image tower's projection becomes that of Fisher's linear discriminant with shrinkage: directions in which views
   of one product differ count less. Training pulls each product to a point of its own, which leaves the order of the
   next best to chance; this brings some of it back.
3. The text tower learns where the pictures of its products are now.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from demo.model import network, objective
from demo.model.grocery import Photos, Pixels, Product
from demo.model.network import Tree
from demo.model.retrieval import unit

Features = npt.NDArray[np.float32]


class Views(Protocol):
    """What draws augmented pictures, as `PictureSource` does."""

    def __call__(self, step: int, *, size: int, side_px: int) -> tuple[Pixels, npt.NDArray[np.int32]]:
        """`size` pictures of `side_px`, and their products, by number."""


Texts = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]

# Served pictures are larger than those of training: random crops show things larger than whole photos do.
SIDE_PX = 128
_ICONIC_WEIGHT = 4  # in the statistics, so that iconic pictures have about their share of the training pictures
_SHRINKAGE = 2.0
_BATCH, _VIEW_BATCHES = 64, 80
_TEXT_STEPS, _TEXT_RATE, _TEXT_SCALE = 3000, 1e-3, 20.0


def close(
    kept: Tree,
    stats: Tree,
    *,
    photos: Photos,
    products: Sequence[Product],
    views: Views,
    texts: Callable[[int], Texts],
) -> tuple[Tree, Tree, Tree]:
    """The image tower's parameters and statistics, and the text tower's parameters, as they are exported.

    `views` gives that many augmented pictures of that size with their products, by number; `texts` two texts of each.
    """
    iconic = [product.iconic for product in products]
    measured = _measured_stats(kept["image"], stats, [*photos.pictures, *iconic * _ICONIC_WEIGHT])
    image = dict(kept["image"])
    drawn = [views(number, size=_BATCH, side_px=SIDE_PX) for number in range(_VIEW_BATCHES)]
    once = jax.jit(lambda x: network.image_features(image, measured, x, training=False)[0].pooled)
    seen = np.concatenate([_features(once, pictures) for pictures, _ in drawn])
    projection, bias = discriminant(seen, np.concatenate([rows for _, rows in drawn]), _SHRINKAGE)
    # The text tower starts from what the old projection's directions have become.
    text = {**kept["text"], "projection": kept["text"]["projection"] @ np.linalg.pinv(image["projection"]) @ projection}
    image |= {"projection": projection, "bias": bias}

    looks = jax.jit(lambda x: network.pooled_looks(image, measured, x))
    shown = unit(_features(looks, photos.pictures) @ projection + bias)
    centres = unit(np.stack([shown[photos.products == row].mean(axis=0) for row in range(len(products))]))
    centres = unit(centres + unit(_features(looks, iconic) @ projection + bias))
    return image, measured, _aligned_text(text, centres, texts)


def discriminant(
    features: Features, products: npt.NDArray[np.int32], shrinkage: float
) -> tuple[Features, npt.NDArray[np.float32]]:
    """[F, D] and [D] of the map after which views of one product differ about equally in all directions.

    The inverse square root of the covariance within products, to whose diagonal `shrinkage` times its mean is added;
    then the D directions in which products differ, one less than there are products. `features` are [N, F].
    """
    rows = np.unique(products)
    means = np.stack([features[products == row].mean(axis=0) for row in rows])
    within = features - means[np.searchsorted(rows, products)]
    values, vectors = np.linalg.eigh(within.T @ within / len(within))
    whiten = vectors @ np.diag((values + shrinkage * values.mean()) ** -0.5) @ vectors.T
    middle = means.mean(axis=0)
    between = (means - middle) @ whiten
    _, directions = np.linalg.eigh(between.T @ between)
    projection = (whiten @ directions[:, ::-1][:, : len(rows) - 1]).astype(np.float32)
    return projection, (-middle @ projection).astype(np.float32)


def _measured_stats(image: Tree, stats: Tree, pictures: Sequence[Pixels]) -> Tree:
    measure = jax.jit(lambda x: network.image_features(image, stats, x, training=True)[1])
    order = np.random.default_rng(0).permutation(len(pictures))
    size, found = 2 * _BATCH, []
    for first in range(0, len(order) - size + 1, size):
        batch = np.stack([_scaled(pictures[row]) for row in order[first : first + size]])
        found.append(measure(jnp.asarray(batch, jnp.float32) / 255))
    return jax.tree.map(lambda *values: sum(values) / len(values), *found)


def _aligned_text(text: Tree, centres: Features, texts: Callable[[int], Texts]) -> Tree:
    """The text tower, trained on to give each product's texts its centre [C, D]."""
    optimizer = optax.adam(optax.cosine_decay_schedule(_TEXT_RATE, _TEXT_STEPS))
    truth = jnp.tile(jnp.arange(len(centres)), 2)

    @jax.jit
    def learn(params: Tree, moments: Any, ids: jax.Array, mask: jax.Array) -> tuple[Tree, Any]:
        def loss(params: Tree) -> jax.Array:
            similarity = objective.unit(network.text_embedding(params, ids, mask)) @ centres.T
            right = jnp.take_along_axis(similarity, truth[:, None], axis=1)
            chosen = optax.softmax_cross_entropy_with_integer_labels(_TEXT_SCALE * similarity, truth)
            return jnp.asarray(chosen.mean() + (1 - right).mean())

        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        return optax.apply_updates(params, updates), moments

    moments = optimizer.init(text)
    for step in range(_TEXT_STEPS):
        text, moments = learn(text, moments, *texts(step))
    return text


def _features(network_of: Callable[[jax.Array], jax.Array], pictures: Sequence[Pixels] | Pixels) -> Features:
    """What `network_of` gives for pictures of any size."""
    scaled = [_scaled(picture) for picture in pictures]
    # Full batches alone, so that one compilation serves all.
    padded = np.stack(scaled + scaled[:1] * (-len(scaled) % _BATCH))
    rows = [network_of(jnp.asarray(padded[i : i + _BATCH], jnp.float32) / 255) for i in range(0, len(padded), _BATCH)]
    return np.concatenate([np.asarray(row) for row in rows])[: len(scaled)]


def _scaled(picture: Pixels) -> Pixels:
    smaller = picture.shape[0] > SIDE_PX
    flag = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=flag), np.uint8)
