"""The quality of real pictures, and how it falls when they become blurred, dark or small."""

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from framematch.core.arrays import Pixels
from framematch.core.settings import MatchingSettings
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from framematch.vision.quality import Flaw, Quality, quality_of

MIN_QUALITY = MatchingSettings().min_quality
DATA = Path(__file__).parents[3] / "demo" / "data"
PATHS = sorted(DATA.rglob("*.jpg"))
# Of what is blurred so much that almost nothing is left: the rest is rounding, or taken for noise.
TOLERANCE = 0.1


def crop_of(picture: Pixels, side: int) -> Pixels:
    spec = PreprocessSpec(side, side, side, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return Preprocessor(spec, "fast")(picture)


def measured(picture: Pixels, side: int = 224) -> Quality:
    return quality_of(crop_of(picture, side), min(picture.shape[:2]))


def photo(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def from_camera(picture: Pixels, noise: float) -> Pixels:
    noisy = picture + np.random.default_rng(0).normal(0, noise, picture.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return np.asarray(Image.open(buffer))


def blurred(picture: Pixels, share: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), share * min(picture.shape[:2])), np.uint8)


def darker(picture: Pixels, factor: float) -> Pixels:
    return (picture * factor).astype(np.uint8)


def smaller(picture: Pixels, side: float) -> Pixels:
    return np.asarray(cv2.resize(picture, (int(side), int(side)), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("side", [128, 192, 224])
def test_nothing_is_wrong_with_a_photo_of_a_product(side: int) -> None:
    assert len(PATHS) > 150
    assert {measured(photo(path), side) for path in PATHS[::5]} == {Quality(1.0, None)}


@pytest.mark.parametrize("noise", [0.0, 4.0])
@pytest.mark.parametrize(
    ("flaw", "grades", "spoil"),
    [
        ("blurred", (0.01, 0.02, 0.03, 0.05, 0.08), blurred),
        ("dark", (0.4, 0.2, 0.1, 0.05, 0.0), darker),
        ("small", (70, 48, 32, 16, 1), smaller),
    ],
)
def test_quality_falls_with_each_flaw_which_is_named(
    flaw: Flaw, grades: tuple[float, ...], spoil: Callable[[Pixels, float], Pixels], noise: float
) -> None:
    for path in PATHS[::30]:
        found = [measured(from_camera(spoil(photo(path), grade), noise)) for grade in grades]
        assert all(after.value <= before.value + TOLERANCE for before, after in pairwise(found)), path
        assert found[-1].value < MIN_QUALITY
        assert found[-2].reason in {flaw, "blurred"}, path  # noise hides what is dark or small


@pytest.mark.parametrize("noise", [2, 4, 8])
def test_noise_does_not_make_a_blurred_picture_sharp(noise: int) -> None:
    for path in sorted((DATA / "photos").rglob("*.jpg"))[::30]:  # a white ground would cut off the noise
        assert measured(from_camera(blurred(photo(path), 0.05), noise)).value < MIN_QUALITY


def test_a_package_before_a_dark_belt_is_not_dark() -> None:
    for path in PATHS[::30]:
        scene = np.full((360, 640, 3), 15, np.uint8)
        scene[120:240, 260:380] = smaller(photo(path), 120)
        assert measured(from_camera(scene, 4)).value >= MIN_QUALITY


@settings(max_examples=50)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 5_000),
    st.integers(0, 2**32 - 1),
    st.integers(1, 255),
)
def test_quality_is_from_0_to_1_for_any_picture(shape: tuple[int, int], side_px: int, seed: int, top: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, top, (*shape, 3), np.uint8)
    found = quality_of(pixels, side_px)
    assert 0 <= found.value <= 1
    assert (found.reason is None) == (found.value == 1)
