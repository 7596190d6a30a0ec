"""Finishes the trained towers before the export, in a few minutes.

1. The statistics of batch normalisation are measured again. Those of training belong to other weights than the kept
   average, and to augmented pictures.
2. The image tower's projection is replaced by Fisher's linear discriminant with shrinkage, in which directions count
   less when pictures of one product differ in them. Training moves each product to a point of its own, which makes the
   order of the next best products random; this restores some of it.
3. The text tower is fitted to the new embeddings of its products' pictures.
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
from demo.model.grocery import Photos, Product
from demo.model.network import Tree
from demo.model.retrieval import unit
from framematch.core.arrays import Pixels

Features = npt.NDArray[np.float32]


class DrawPictures(Protocol):
    """Draws augmented pictures, like `PictureSource`."""

    def __call__(self, step: int, *, size: int, side_px: int) -> tuple[Pixels, npt.NDArray[np.int32]]:
        """`size` pictures of `side_px`, and the rows of their products."""


Texts = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]

# Served pictures are larger than those of training, because random crops show products larger than whole photos do.
SIDE_PX = 128
_ICONIC_WEIGHT = 4  # gives iconic pictures about the same share in the statistics as in training
_SHRINKAGE = 2.0
_BATCH, _DRAWN_BATCHES = 64, 80
_TEXT_STEPS, _TEXT_RATE, _TEXT_SCALE = 3000, 1e-3, 20.0


def finish(
    kept: Tree,
    stats: Tree,
    *,
    photos: Photos,
    products: Sequence[Product],
    draw: DrawPictures,
    texts: Callable[[int], Texts],
) -> tuple[Tree, Tree, Tree]:
    """The image tower's parameters and statistics, and the text tower's parameters, for the export.

    `draw` draws augmented pictures, and `texts` two texts of each product.
    """
    iconic = [product.iconic for product in products]
    measured = _measured_stats(kept["image"], stats, [*photos.pictures, *iconic * _ICONIC_WEIGHT])
    image = dict(kept["image"])
    drawn = [draw(number, size=_BATCH, side_px=SIDE_PX) for number in range(_DRAWN_BATCHES)]
    pooled = jax.jit(lambda x: network.image_features(image, measured, x, training=False)[0].pooled)
    features = np.concatenate([_features(pooled, pictures) for pictures, _ in drawn])
    projection, bias = discriminant(features, np.concatenate([rows for _, rows in drawn]), _SHRINKAGE)
    # The text tower's projection starts as the old one, mapped to the new space.
    text = {**kept["text"], "projection": kept["text"]["projection"] @ np.linalg.pinv(image["projection"]) @ projection}
    image |= {"projection": projection, "bias": bias}

    averaged = jax.jit(lambda x: network.pooled_average(image, measured, x))
    embeddings = unit(_features(averaged, photos.pictures) @ projection + bias)
    centres = unit(np.stack([embeddings[photos.products == row].mean(axis=0) for row in range(len(products))]))
    centres = unit(centres + unit(_features(averaged, iconic) @ projection + bias))
    return image, measured, _aligned_text(text, centres, texts)


def discriminant(
    features: Features, products: npt.NDArray[np.int32], shrinkage: float
) -> tuple[Features, npt.NDArray[np.float32]]:
    """The projection [F, D] and bias [D] of Fisher's linear discriminant with shrinkage, from `features` [N, F].

    First comes the inverse square root of the covariance within products, with `shrinkage` times its mean added to the
    diagonal. Then come the D directions in which products differ; D is the number of products minus one.
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
    """Train the text tower to give each product's texts the product's centre [C, D]."""
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
    """The output of `network_of` for pictures of any size."""
    scaled = [_scaled(picture) for picture in pictures]
    # Only full batches, so that it is compiled once.
    padded = np.stack(scaled + scaled[:1] * (-len(scaled) % _BATCH))
    rows = [network_of(jnp.asarray(padded[i : i + _BATCH], jnp.float32) / 255) for i in range(0, len(padded), _BATCH)]
    return np.concatenate([np.asarray(row) for row in rows])[: len(scaled)]


def _scaled(picture: Pixels) -> Pixels:
    smaller = picture.shape[0] > SIDE_PX
    flag = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=flag), np.uint8)
