"""Resizing and cropping: the exact variant against Pillow, the fast one against the exact one."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor, Variant

SPEC = PreprocessSpec(
    resize_shortest_edge=64,
    crop_height=64,
    crop_width=64,
    resample="bicubic",
    rescale_factor=1 / 255,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
SQUEEZE = replace(SPEC, resize_shortest_edge=None)
VARIANTS: tuple[Variant, ...] = ("exact", "fast")
SIZES = [(64, 64), (640, 360), (360, 640), (301, 97), (97, 301), (1080, 1440), (30, 50), (50, 30), (64, 129), (700, 65)]


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Smooth gradients, a fine grating and some noise: sharp enough to show a shift or a wrong filter."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / width * 9 + 1), np.cos(y / height * 7), np.sin((x + y) / 11)]
    noise = np.random.default_rng(3).normal(scale=6, size=(height, width, 3))
    return np.clip(127 + 90 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


def reference(rgb: npt.NDArray[np.uint8], spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
    """The reference processor: resize the whole picture with Pillow, then crop the centre."""
    height, width = rgb.shape[:2]
    edge = spec.resize_shortest_edge
    if edge is None:
        new_height, new_width = spec.crop_height, spec.crop_width
    elif height <= width:
        new_height, new_width = edge, int(edge * width / height)
    else:
        new_height, new_width = int(edge * height / width), edge
    resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[spec.resample]
    resized = np.asarray(Image.fromarray(rgb).resize((new_width, new_height), resample))
    top, left = (new_height - spec.crop_height) // 2, (new_width - spec.crop_width) // 2
    return resized[top : top + spec.crop_height, left : left + spec.crop_width]


def difference(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    return np.abs(a.astype(np.int64) - b.astype(np.int64))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_exact_is_pillow_s_resize_and_crop_up_to_one_level_of_rounding(height: int, width: int) -> None:
    rgb = picture(height, width)
    assert difference(Preprocessor(SPEC, "exact")(rgb), reference(rgb, SPEC)).max() <= 1


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, resample="bilinear"),
        replace(SPEC, crop_height=48, crop_width=40),
        replace(SPEC, resize_shortest_edge=71, crop_height=64, crop_width=33),
    ],
)
def test_exact_follows_the_spec(spec: PreprocessSpec) -> None:
    rgb = picture(360, 640)
    made = Preprocessor(spec, "exact")(rgb)
    assert made.shape == (spec.crop_height, spec.crop_width, 3)
    assert difference(made, reference(rgb, spec)).max() <= 1


@pytest.mark.parametrize(("height", "width"), [*SIZES, (1, 500), (40, 2000)])
@pytest.mark.parametrize(
    "spec", [SQUEEZE, replace(SQUEEZE, resample="bilinear"), replace(SQUEEZE, crop_height=48, crop_width=80)]
)
def test_exact_without_a_crop_is_pillow_s_resize_of_the_whole_picture(
    height: int, width: int, spec: PreprocessSpec
) -> None:
    rgb = picture(height, width)
    assert np.array_equal(Preprocessor(spec, "exact")(rgb), reference(rgb, spec))


@pytest.mark.parametrize(("height", "width"), [*SIZES, (80, 2000), (2000, 80), (40, 2000)])
def test_fast_without_a_crop_is_within_three_levels_of_exact_on_average(height: int, width: int) -> None:
    rgb = picture(height, width)
    assert difference(Preprocessor(SQUEEZE, "fast")(rgb), reference(rgb, SQUEEZE)).mean() <= 3.0


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_fast_is_within_three_levels_of_exact_on_average(height: int, width: int) -> None:
    rgb = picture(height, width)
    assert difference(Preprocessor(SPEC, "fast")(rgb), reference(rgb, SPEC)).mean() <= 3.0


@pytest.mark.parametrize("spec", [SPEC, SQUEEZE])
@pytest.mark.parametrize("variant", VARIANTS)
@given(height=st.integers(1, 400), width=st.integers(1, 400))
def test_any_size_is_cropped_and_a_plain_colour_is_unchanged(
    variant: Variant, spec: PreprocessSpec, height: int, width: int
) -> None:
    plain = np.full((height, width, 3), (10, 128, 250), np.uint8)
    made = Preprocessor(spec, variant)(plain)
    assert made.shape == (64, 64, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(np.unique(made.reshape(-1, 3), axis=0), [[10, 128, 250]])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(1, 20_000), (20_000, 1), (3, 9_999)])
def test_of_a_strip_the_middle_is_cropped(variant: Variant, height: int, width: int) -> None:
    strip = np.zeros((height, width, 3), np.uint8)
    middle = slice(height // 2 - 2, height // 2 + 3) if height > width else slice(width // 2 - 2, width // 2 + 3)
    strip[(middle, slice(None)) if height > width else (slice(None), middle)] = 200
    assert Preprocessor(SPEC, variant)(strip).min() == 200


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_array_view_of_a_larger_picture_is_accepted(variant: Variant) -> None:
    large = picture(400, 500)
    view = large[50:250, 100:400]
    preprocess = Preprocessor(SPEC, variant)
    assert np.array_equal(preprocess(view), preprocess(view.copy()))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_not_an_rgb_picture_is_a_programming_error(wrong: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        Preprocessor(SPEC)(wrong)


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (223, 300), (280, 280), (560, 1000), (1120, 2000), (9000, 9000)])
def test_a_reduced_picture_is_still_larger_than_the_crop(size: tuple[int, int]) -> None:
    spec = replace(SPEC, resize_shortest_edge=224, crop_height=224, crop_width=224)
    reduction = Preprocessor(spec, "fast").reduction(*size)
    assert reduction in {1, 2, 4, 8}
    assert reduction == 1 or min(size) / reduction >= 224 * 1.2
    assert reduction == 8 or min(size) / (2 * reduction) < 224 * 1.2


def test_the_exact_variant_needs_full_pictures() -> None:
    assert Preprocessor(SPEC, "exact").reduction(5000, 5000) == 1


def test_specs_and_variants_have_different_digests() -> None:
    digests = {
        Preprocessor(SPEC, "exact").digest,
        Preprocessor(SPEC, "fast").digest,
        Preprocessor(replace(SPEC, resample="bilinear"), "exact").digest,
        Preprocessor(replace(SPEC, mean=(0.5, 0.5, 0.4)), "exact").digest,
        Preprocessor(SQUEEZE, "exact").digest,
    }
    assert len(digests) == 5


def test_the_digest_is_the_same_as_in_existing_indexes() -> None:
    assert Preprocessor(SPEC, "exact").digest == "4c24faeedf0f61cd64122e6dd52dbe77d9f9feda130c81bca5021913b6b092fa"
    assert Preprocessor(SPEC, "fast").digest == "e56e22a8dd88da3aa55afcef6a5237074334f343194d2f54616824a958b722c6"


def test_a_picture_in_full_hd_is_decoded_at_a_quarter_for_224_pixels() -> None:
    spec = replace(SPEC, resize_shortest_edge=224, crop_height=224, crop_width=224)
    assert Preprocessor(spec, "fast").reduction(1080, 1920) == 4
