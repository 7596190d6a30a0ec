"""A picture becomes what the model takes exactly as a frame does, whatever its file is."""

import numpy as np
import pytest

from consumers.stages.decode import clip_regions, read_jpeg
from consumers.stages.prepare import crop_regions
from framematch.core.errors import PictureError
from framematch.core.frames import Region
from framematch.matching.match_pictures import Picture, prepare_picture
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor, Variant
from tests.unit.pictures.samples import encoded, jpeg, photo, with_orientation

MAX_PIXELS = 10_000_000
SPEC = PreprocessSpec(32, 32, 32, "bicubic", 1 / 255, (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize("variant", ["exact", "fast"])
@pytest.mark.parametrize("size", [(96, 64), (641, 479), (1280, 720)])
@pytest.mark.parametrize("regions", [(), ((10, 20, 40, 40), (0, 0, 9_999, 50), (333, 5, 300, 40))])
def test_the_crops_of_a_jpeg_are_those_of_a_frame(
    variant: Variant, size: tuple[int, int], regions: tuple[Region, ...]
) -> None:
    inside = tuple(region for region in regions if region[0] < size[0])
    data, preprocessor = jpeg(photo(*size)), Preprocessor(SPEC, variant)
    frame = read_jpeg(data, max_pixels=MAX_PIXELS)
    clipped = clip_regions(frame.width, frame.height, inside)
    prepared = prepare_picture(Picture(data, inside), preprocessor)
    assert prepared.regions == clipped
    for one, other in zip(prepared.crops, crop_regions(frame, clipped, preprocessor), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_is_of_the_upright_picture_also_when_it_is_decoded_smaller(orientation: int) -> None:
    shown, region = photo(640, 480), (64, 32, 320, 320)
    preprocessor = Preprocessor(SPEC)
    upright = prepare_picture(Picture(encoded(shown, "PNG"), (region,)), preprocessor)
    turned = with_orientation(shown, orientation, "JPEG", quality=95)
    prepared = prepare_picture(Picture(turned, (region,)), preprocessor)
    assert (prepared.width, prepared.height, prepared.regions) == (640, 480, (region,))
    assert np.abs(prepared.crops[0].astype(int) - upright.crops[0]).mean() < 3


def test_a_region_outside_of_the_picture_is_refused_before_it_is_decoded() -> None:
    truncated = jpeg()[:-200]
    with pytest.raises(PictureError) as refused:
        prepare_picture(Picture(truncated, ((96, 0, 1, 1),)), Preprocessor(SPEC))
    assert refused.value.reason == "region"
