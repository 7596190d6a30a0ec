"""Rows of regions: each picture is decoded once, and a bad one is the problem of its own rows."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from PIL import Image

from framematch.core.arrays import Pixels
from framematch.core.errors import ModelError, PictureError
from framematch.pictures.jpeg import Jpeg
from framematch.vision.content import content_of
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from framematch.vision.region_rows import JpegManifest, RegionRow, crop_rows, decode_each, reduction_for

SPEC = PreprocessSpec(16, 16, 16, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
FAST = Preprocessor(SPEC, "fast")
MAX_PIXELS = 1_000_000


def jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


class CountingDecoder:
    """Decodes as clients do, and counts pictures."""

    def __init__(self) -> None:
        self.decoded = 0

    def __call__(self, pictures: Sequence[tuple[Jpeg, int]]) -> Iterator[Pixels | PictureError]:
        self.decoded += len(pictures)
        return decode_each(pictures)


def test_the_reduction_of_a_picture_is_the_least_of_all_its_regions() -> None:
    small, large = (0, 0, 20, 20), (0, 0, 400, 400)
    assert reduction_for(FAST, [large]) == 8
    assert reduction_for(FAST, [large, small]) == 1


def test_rows_of_one_picture_share_one_decode_and_other_reductions_do_not() -> None:
    one, other, decoder = jpeg(200, 160), jpeg(64, 64), CountingDecoder()
    boxes = [(0, 0, 200, 160), (10, 10, 99, 99), (150, 100, 50, 60)]
    rows = [RegionRow(one, box, 1) for box in boxes]
    rows += [RegionRow(other, (0, 0, 64, 64), 1), RegionRow(other, (0, 0, 64, 64), 2)]
    found = crop_rows(rows, FAST, max_pixels=MAX_PIXELS, decode=decoder)
    assert decoder.decoded == 3
    alone = [crop_rows([row], FAST, max_pixels=MAX_PIXELS)[0] for row in rows]
    for row, expected in zip(found, alone, strict=True):
        np.testing.assert_array_equal(row.pixels, expected.pixels)
        assert (row.content, row.quality, row.problem) == (content_of(row.pixels), expected.quality, "")


def test_rows_without_a_picture_are_black_and_say_why_in_their_order() -> None:
    good, whole = jpeg(64, 64), (0, 0, 64, 64)
    data = [good, b"no picture", good, good[:-200], good, jpeg(1200, 900)]
    rows = [*(RegionRow(one, whole, 1) for one in data), RegionRow(good, (64, 0, 5, 5), 1)]
    found = crop_rows(rows, FAST, max_pixels=MAX_PIXELS)
    reasons = [row.problem.partition(": ")[0] for row in found]
    assert reasons == ["", "not_a_jpeg", "", "truncated", "", "too_many_pixels", "region"]
    assert [bool(row.pixels.any()) for row in found] == [reason == "" for reason in reasons]


def test_a_description_of_another_version_is_refused_with_the_command_that_makes_it() -> None:
    own = JpegManifest("libjpeg-turbo", "fast", FAST.digest, 7)
    assert JpegManifest.from_json(own.to_json()) == own
    with pytest.raises(ModelError, match="not readable") as caught:
        JpegManifest.from_json('{"decoder": 3}')
    assert "--jpeg" in caught.value.hint
