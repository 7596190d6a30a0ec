"""Frames that show nothing, tried against a new index."""

import numpy as np
import pytest

from framematch.catalog.snapshots.empty_frames import EmptyFrameMatch, draw_empty_frames, explain, match_empty_frames
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import EmbeddingError
from framematch.core.settings import MatchingSettings
from framematch.vision.content import content_of
from framematch.vision.manifest import PreprocessSpec
from tests.unit.catalog.snapshots import MODEL, SPEC, ColourEncoder

LARGE = PreprocessSpec(224, 224, 224, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.mark.parametrize("name", draw_empty_frames(LARGE))
def test_an_empty_frame_has_no_content(name: str) -> None:
    assert content_of(draw_empty_frames(LARGE)[name]) < MatchingSettings().min_content


async def tried(threshold: float) -> tuple[EmptyFrameMatch, ...]:
    """Against two products: a black picture, and one of which the left half is white."""
    half = np.zeros((4, 4, 3), np.uint8)
    half[:, :2] = 255
    rows = await ColourEncoder().embed(np.stack([np.zeros((4, 4, 3), np.uint8), half]))
    return await match_empty_frames(ColourEncoder().embed, SPEC, rows, ["coal", "domino"], threshold)


async def test_frames_that_reach_the_threshold_are_named_with_the_nearest_product() -> None:
    found = {match.frame: match for match in await tried(0.9)}
    assert found["black"] == EmptyFrameMatch("black", "coal", 1.0)
    assert "black with noise" in found
    assert "white" not in found
    warning = explain(tuple(found.values()))
    assert "black (coal 1.000)" in warning
    assert "matching.threshold" in warning


async def test_nothing_is_said_when_no_frame_reaches_the_threshold() -> None:
    assert explain(await tried(1.1)) == ""


async def test_a_frame_that_the_model_has_no_embedding_for_matches_nothing() -> None:
    async def embed(pixels: Pixels) -> Embeddings:
        raise EmbeddingError(f"no embedding of {len(pixels)} pictures")

    rows = np.zeros((1, MODEL.dimension), np.float32)
    assert await match_empty_frames(embed, SPEC, rows, ["a"], 0.0) == ()
