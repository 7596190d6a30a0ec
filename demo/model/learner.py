"""The training step, and its initial state."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from demo.model import colour, network, objective
from demo.model.grocery import Product
from demo.model.network import Tree
from demo.model.recipe import Recipe

_RUNNING = 0.9  # share of the old statistics in the running average

Optimizer: TypeAlias = Any  # an optax.GradientTransformation; optax publishes no types


class Batch(NamedTuple):
    """Pictures uint8 [B, S, S, 3] with products [B], and texts as ids and mask [2 * products, L]."""

    pictures: Any
    products: Any
    ids: Any
    mask: Any


class State(NamedTuple):
    """The state of a run; `kept` is the running average of the parameters, which becomes the model."""

    step: Any
    params: Tree
    kept: Tree
    stats: Tree
    optimizer: Tree


def start(recipe: Recipe, *, products: int, vocabulary: int, categories: int) -> tuple[State, Optimizer]:
    """The initial state and the optimizer. Equal recipes give equal states."""
    rng = np.random.default_rng(recipe.seed)
    image, stats = network.init_image(rng)
    params = {
        "image": image,
        "text": network.init_text(rng, vocabulary),
        "heads": objective.init_heads(rng, products, categories),
    }
    warm_up = min(recipe.warm_up, recipe.steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, warm_up, recipe.steps)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, weight_decay=recipe.weight_decay, mask=_matrices),
    )
    params, stats = jax.tree.map(jnp.asarray, (params, stats))
    return State(jnp.asarray(0), params, params, stats, optimizer.init(params)), optimizer


@partial(jax.jit, static_argnames=("recipe", "optimizer"))
def learn(
    state: State, batch: Batch, coarse: jax.Array, *, recipe: Recipe, optimizer: Optimizer
) -> tuple[State, jax.Array]:
    """One step: the state after `batch`, and the loss before it. `coarse` is `coarse_of(products)`."""
    key = jax.random.fold_in(jax.random.key(recipe.seed), state.step)
    pictures, targets = colour.augment(key, batch.pictures, jax.nn.one_hot(batch.products, len(coarse)))

    def total(params: Tree) -> tuple[jax.Array, Tree]:
        features, found = network.image_features(params["image"], state.stats, pictures, training=True)
        texts = objective.unit(network.text_embedding(params["text"], batch.ids, batch.mask))
        texts = texts.reshape(2, len(coarse), -1)
        return objective.loss(params["heads"], features, texts, targets, coarse), found

    (value, found), gradient = jax.value_and_grad(total, has_aux=True)(state.params)
    updates, moments = optimizer.update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(recipe.average, (1 + state.step) / (10 + state.step))
    kept = _between(state.kept, params, decay)
    return State(state.step + 1, params, kept, _between(state.stats, found, _RUNNING), moments), value


def coarse_of(products: Sequence[Product]) -> npt.NDArray[np.float32]:
    """[products, categories] of 0 and 1: the category of each product."""
    categories = sorted({product.category for product in products})
    rows = [categories.index(product.category) for product in products]
    return np.eye(len(categories), dtype=np.float32)[rows]


def _between(old: Tree, new: Tree, share: Any) -> Tree:
    return jax.tree.map(lambda a, b: share * a + (1 - share) * b, old, new)


def _matrices(params: Tree) -> Tree:
    """True for leaves with weight decay: not for biases, scales and temperatures."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
