"""The augmentation within the training step: light, noise, erased boxes and mixed pictures."""

import jax
import jax.numpy as jnp

_GAIN, _WHITE_BALANCE, _CONTRAST, _SATURATION, _GAMMA, _NOISE = 0.25, 0.13, 0.25, 0.25, 0.15, 0.03
_ERASED, _MIXED = 0.25, 0.4
_BOX = (0.3, 0.7)  # side of an erased or mixed box, relative to the picture's side


def augment(key: jax.Array, pictures: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """uint8 [B, S, S, 3] and targets [B, C] to float pictures in 0..1 and targets that include mixed-in products."""
    light, erase, mix = jax.random.split(key, 3)
    pictures = _relit(light, pictures.astype(jnp.float32) / 255)
    pictures = _erased(erase, pictures)
    return _mixed(mix, pictures, targets)


def _relit(key: jax.Array, x: jax.Array) -> jax.Array:
    """Simulate other light and another camera: gain, white balance, gamma, contrast, saturation, noise."""
    keys = jax.random.split(key, 7)
    batch = x.shape[0]

    def factor(index: int, deviation: float, channels: int = 1) -> jax.Array:
        return jnp.exp(deviation * jax.random.normal(keys[index], (batch, 1, 1, channels)))

    x = jnp.clip(x * factor(0, _GAIN) * factor(1, _WHITE_BALANCE, 3), 1e-4, 1) ** factor(2, _GAMMA)
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    x = mean + (x - mean) * factor(3, _CONTRAST)
    grey = x.mean(axis=3, keepdims=True)
    x = grey + (x - grey) * factor(4, _SATURATION)
    deviation = _NOISE * jax.random.uniform(keys[5], (batch, 1, 1, 1))
    return jnp.clip(x + deviation * jax.random.normal(keys[6], x.shape), 0, 1)


def _boxes(key: jax.Array, batch: int, side: int) -> jax.Array:
    """[B, S, S, 1] of 0 and 1: one random box in each picture."""
    size_key, place_key = jax.random.split(key)
    size = jax.random.uniform(size_key, (batch, 2), minval=_BOX[0], maxval=_BOX[1]) * side
    centre = jax.random.uniform(place_key, (batch, 2)) * side
    positions = jnp.arange(side) + 0.5
    inside = jnp.abs(positions[None, None] - centre[:, :, None]) < size[:, :, None] / 2
    return (inside[:, 0, :, None] & inside[:, 1, None, :]).astype(jnp.float32)[..., None]


def _erased(key: jax.Array, x: jax.Array) -> jax.Array:
    box_key, colour_key, which_key = jax.random.split(key, 3)
    which = jax.random.uniform(which_key, (x.shape[0], 1, 1, 1)) < _ERASED
    box = _boxes(box_key, x.shape[0], x.shape[1]) * which * 0.7
    return x * (1 - box) + jax.random.uniform(colour_key, (x.shape[0], 1, 1, 3)) * box


def _mixed(key: jax.Array, x: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """CutMix (Yun et al., 2019): a box of another picture, and its share in the target."""
    order_key, box_key, which_key = jax.random.split(key, 3)
    order = jax.random.permutation(order_key, x.shape[0])
    which = jax.random.uniform(which_key, (x.shape[0], 1, 1, 1)) < _MIXED
    box = _boxes(box_key, x.shape[0], x.shape[1]) * which
    share = box.mean(axis=(1, 2))
    return x * (1 - box) + x[order] * box, targets * (1 - share) + targets[order] * share
