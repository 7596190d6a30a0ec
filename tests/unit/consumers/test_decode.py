"""Decoding: what is wrong with a record's bytes is said, and nothing dangerous is decoded."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from consumers.stages.decode import clip_regions, read_jpeg
from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError
from framematch.core.frames import Region
from framematch.pictures.regions import cut

MAX_PIXELS = 100_000


def jpeg(width: int = 64, height: int = 48, colour: tuple[int, int, int] = (200, 30, 60), kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind, quality=95)
    return buffer.getvalue()


def decoded(data: bytes, reduction: int = 1) -> Pixels:
    return read_jpeg(data, max_pixels=MAX_PIXELS).decode(reduction)


def reason(data: bytes) -> str:
    with pytest.raises(BadFrameError) as raised:
        decoded(data)
    return raised.value.reason


def test_a_jpeg_becomes_rgb_rows() -> None:
    picture = decoded(jpeg())
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - (200, 30, 60)).max() <= 3


def test_a_grey_jpeg_becomes_rgb_too() -> None:
    encoded = cv2.imencode(".jpg", np.full((20, 30), 90, np.uint8))[1].tobytes()
    assert decoded(encoded).shape == (20, 30, 3)


def test_an_orientation_tag_does_not_turn_the_picture_away_from_its_regions() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG", exif=exif)
    assert decoded(buffer.getvalue()).shape == (48, 64, 3)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", jpeg(kind="PNG"), jpeg(kind="GIF")])
def test_anything_but_a_jpeg_is_refused(data: bytes) -> None:
    assert reason(data) == "not_a_jpeg"


def test_a_cut_jpeg_is_refused() -> None:
    assert reason(jpeg()[:-40]) == "truncated"


def test_a_cut_jpeg_with_an_end_marker_is_refused_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert reason(jpeg()[:-40] + b"\xff\xd9") == "undecodable"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("behind", [bytes(16), bytes(100_000), b"\xff" * 65, b"ftypmp42" * 50, jpeg()])
def test_what_follows_the_end_marker_is_ignored(behind: bytes) -> None:
    assert np.array_equal(decoded(jpeg() + behind), decoded(jpeg()))


def test_the_error_says_how_many_bytes_the_picture_has_and_what_is_wrong() -> None:
    data = jpeg()[:-40]
    with pytest.raises(BadFrameError, match=f"the picture of {len(data)} bytes is damaged: it ends before its end"):
        decoded(data)


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    header_of_a_gigapixel = bytearray(jpeg())
    size_at = header_of_a_gigapixel.index(b"\xff\xc0") + 5
    header_of_a_gigapixel[size_at : size_at + 4] = b"\xff\xff\xff\xff"
    assert reason(bytes(header_of_a_gigapixel)) == "too_many_pixels"


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_damaged_bytes_give_a_picture_or_a_bad_frame(noise: bytes, position: int) -> None:
    data = bytearray(jpeg())
    at = position % len(data)
    data[at : at + len(noise)] = noise
    try:
        outcome = str(decoded(bytes(data)).shape[2])
    except BadFrameError as error:
        outcome = error.reason
    assert outcome in {"3", "not_a_jpeg", "too_many_pixels", "truncated", "undecodable"}


@pytest.mark.parametrize(("reduction", "shape"), [(2, (25, 33, 3)), (4, (13, 17, 3)), (8, (7, 9, 3))])
def test_a_reduced_picture_has_the_mean_of_each_block(reduction: int, shape: tuple[int, int, int]) -> None:
    ramp = np.tile(np.linspace(0, 255, 65).astype(np.uint8)[None, :, None], (49, 1, 3))
    encoded = cv2.imencode(".jpg", ramp, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    reduced = decoded(encoded, reduction)
    assert reduced.shape == shape
    blocks = ramp[: 48 // reduction * reduction, : 64 // reduction * reduction]
    means = blocks.reshape(48 // reduction, reduction, 64 // reduction, reduction, 3).mean(axis=(1, 3))
    assert np.abs(means - reduced[: means.shape[0], : means.shape[1]]).max() <= 3


def test_a_cut_jpeg_is_refused_though_it_is_reduced() -> None:
    with pytest.raises(BadFrameError, match="before its end marker"):
        decoded(jpeg()[:-40], 2)


def test_without_regions_the_whole_picture_is_one() -> None:
    assert clip_regions(64, 48, ()) == ((0, 0, 64, 48),)


def test_a_region_over_the_edge_is_clipped_and_says_so() -> None:
    assert clip_regions(64, 48, ((10, 20, 5, 6), (60, 40, 100, 100))) == ((10, 20, 5, 6), (60, 40, 4, 8))


def test_a_region_outside_the_picture_is_a_bad_frame() -> None:
    with pytest.raises(BadFrameError, match=r"has 64 x 48 pixels, and the box .* is outside"):
        clip_regions(64, 48, ((64, 0, 5, 5),))


@pytest.mark.parametrize(
    "regions",
    [
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        ((60, 40, 9, 9), (60, 40, 10, 10), (60, 40, 4, 8)),
        ((0, 0, 64, 48), (0, 0, 100, 100)),
        ((1, 2, 3, 4), (0, 0, 9, 9), (1, 2, 3, 4)),
    ],
)
def test_boxes_that_show_the_same_pixels_are_one_region(regions: tuple[Region, ...]) -> None:
    clipped = clip_regions(64, 48, regions)
    assert len(clipped) == len(set(clipped)) < len(regions)
    assert set(clipped) == {found for region in regions for found in clip_regions(64, 48, (region,))}


def test_a_region_is_cut_to_the_pixel() -> None:
    picture = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    assert np.array_equal(cut(picture, (10, 20, 5, 6)), picture[20:26, 10:15])


@given(st.tuples(*[st.integers(0, 200)] * 2, *[st.integers(1, 200)] * 2), st.sampled_from([1, 2, 4, 8]))
def test_a_region_of_a_reduced_picture_is_never_empty_and_within_a_block_of_the_full_one(
    region: tuple[int, int, int, int], reduction: int
) -> None:
    picture = np.zeros((-(-400 // reduction), -(-400 // reduction), 3), np.uint8)
    height, width, _ = cut(picture, region, reduction).shape
    assert 0 <= width * reduction - region[2] < 2 * reduction
    assert 0 <= height * reduction - region[3] < 2 * reduction
