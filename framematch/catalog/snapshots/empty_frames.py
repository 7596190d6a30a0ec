"""Tries frames that show nothing against a new index: a model answers them too, with whatever product is nearest."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from framematch.catalog.snapshots.nearest import nearest
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import EmbeddingError
from framematch.vision.manifest import PreprocessSpec

_COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (200, 20, 20),
    "orange": (230, 120, 20),
    "yellow": (230, 210, 30),
    "green": (20, 180, 40),
    "blue": (20, 30, 200),
    "brown": (120, 80, 40),
}
_NOISE_LEVELS = 8  # a camera in poor light


@dataclass(frozen=True)
class EmptyFrameMatch:
    """An empty frame, such as `black`, that is as similar to a product as a match needs."""

    frame: str
    product_id: str
    score: float


def draw_empty_frames(spec: PreprocessSpec) -> dict[str, Pixels]:
    """Crops as the model takes them, RGB [H, W, 3]: each colour, clean and as a camera with noise sees it."""
    shape = (spec.crop_height, spec.crop_width, 3)
    noise = np.random.default_rng(0).normal(0, _NOISE_LEVELS, shape)
    frames = {}
    for name, colour in _COLOURS.items():
        clean = np.broadcast_to(np.array(colour, np.uint8), shape)
        frames[name] = np.ascontiguousarray(clean)
        frames[f"{name} with noise"] = np.clip(clean + noise, 0, 255).astype(np.uint8)
    return frames


async def match_empty_frames(
    embed: Callable[[Pixels], Awaitable[Embeddings]],
    spec: PreprocessSpec,
    embeddings: Embeddings,
    product_ids: Sequence[str],
    threshold: float,
) -> tuple[EmptyFrameMatch, ...]:
    """The empty frames whose similarity to a row of `embeddings`, [rows, D], is at least `threshold`.

    `embed` takes one picture, [1, H, W, 3]. A frame that the model has no embedding for matches nothing.
    """
    names, queries = [], []
    for name, pixels in draw_empty_frames(spec).items():
        try:
            queries.append(await embed(pixels[None]))
        except EmbeddingError:
            continue
        names.append(name)
    if not names:
        return ()
    similarity, rows = await asyncio.to_thread(nearest, np.concatenate(queries), embeddings)
    return tuple(
        EmptyFrameMatch(names[n], product_ids[rows[n]], round(float(similarity[n]), 4))
        for n in np.flatnonzero(similarity >= threshold)
    )


def explain(matches: Sequence[EmptyFrameMatch]) -> str:
    """A warning in words; empty without matches."""
    if not matches:
        return ""
    shown = ", ".join(f"{match.frame} ({match.product_id} {match.score:.3f})" for match in matches)
    return (
        f"{len(matches)} frames that show nothing are as similar to a product as a match needs: {shown}. Consumers "
        "answer frames without content with unknown, but a nearly empty scene may still be taken for these products. "
        "Set matching.threshold above these similarities, or use pictures with less background"
    )
