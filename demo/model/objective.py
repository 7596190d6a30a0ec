"""The losses over one batch of pictures and two texts of each product."""

import jax
import jax.numpy as jnp
import numpy as np

from demo.model.network import DIMENSION, WIDTHS, Features, Tree

_SMOOTHING = 0.1
_TEXT_WEIGHT, _COARSE_WEIGHT, _CONTRAST_WEIGHT = 0.3, 0.3, 0.3
_CONTRAST_TEMPERATURE = 0.1
_FIRST_SCALE, _MAX_SCALE = 12.0, 30.0  # of cosines, before a softmax


def init_heads(rng: np.random.Generator, products: int, categories: int) -> Tree:
    """Parameters of the losses, which are trained with the towers and not served."""
    return {
        "proxies": rng.normal(size=(products, DIMENSION)).astype(np.float32),
        "coarse": (rng.normal(size=(WIDTHS[-1], categories)) / np.sqrt(WIDTHS[-1])).astype(np.float32),
        "log_scales": np.log(np.full(2, _FIRST_SCALE, np.float32)),
    }


def unit(x: jax.Array) -> jax.Array:
    """Rows of unit length."""
    return x * jax.lax.rsqrt((x * x).sum(axis=-1, keepdims=True) + 1e-12)


def loss(params: Tree, features: Features, texts: jax.Array, targets: jax.Array, coarse: jax.Array) -> jax.Array:
    """The sum of the losses, a scalar.

    `params` has `proxies` [C, 128], `coarse` [192, G] and two `log_scales`. `texts` are unit embeddings [2, C, 128].
    Each row of `targets` [B, C] sums to 1. `coarse` [C, G] has the category of each product.
    """
    pictures = unit(features.embedding)
    scales = jnp.exp(jnp.minimum(params["log_scales"], jnp.log(_MAX_SCALE)))
    smooth = targets * (1 - _SMOOTHING) + _SMOOTHING / targets.shape[1]
    proxies = unit(params["proxies"])
    by_proxy = _cross_entropy(scales[0] * pictures @ proxies.T, smooth)
    each = jnp.tile(jnp.eye(texts.shape[1]), (2, 1))
    texts_by_proxy = _cross_entropy(scales[0] * texts.reshape(len(each), -1) @ proxies.T, each)
    clip = (_clip(scales[1] * pictures @ texts[0].T, smooth) + _clip(scales[1] * pictures @ texts[1].T, smooth)) / 2
    by_category = _cross_entropy(features.pooled @ params["coarse"], targets @ coarse)
    contrast = _supervised_contrast(pictures, targets)
    return by_proxy + clip + _TEXT_WEIGHT * texts_by_proxy + _COARSE_WEIGHT * by_category + _CONTRAST_WEIGHT * contrast


def _cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return -(targets * jax.nn.log_softmax(logits, axis=1)).sum(axis=1).mean()


def _clip(similarity: jax.Array, targets: jax.Array) -> jax.Array:
    """CLIP's loss (Radford et al., 2021), for the case that several pictures show the product of one text."""
    share = targets.sum(axis=0)
    back = _cross_entropy(similarity.T, targets.T / share[:, None])
    return (_cross_entropy(similarity, targets) + back) / 2


def _supervised_contrast(pictures: jax.Array, targets: jax.Array) -> jax.Array:
    """Supervised contrastive loss (Khosla et al., 2020). Pairs are weighted by the overlap of their targets."""
    others = 1 - jnp.eye(len(pictures))
    logits = pictures @ pictures.T / _CONTRAST_TEMPERATURE - 1e4 * (1 - others)
    weights = (targets @ targets.T) * others
    total = weights.sum(axis=1)
    row = -(weights * jax.nn.log_softmax(logits, axis=1)).sum(axis=1) / jnp.maximum(total, 1e-6)
    paired = total > 1e-6  # noqa: PLR2004  # a picture without a partner is in no pair
    return (row * paired).sum() / jnp.maximum(paired.sum(), 1)
