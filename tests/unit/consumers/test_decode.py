"""Decoding: what is wrong with a record's bytes is said, and nothing dangerous is decoded."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from consumers.decode import cut_regions, decode_jpeg
from framematch.core.errors import BadFrameError

MAX_PIXELS = 100_000


def jpeg(width: int = 64, height: int = 48, colour: tuple[int, int, int] = (200, 30, 60), kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind, quality=95)
    return buffer.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(BadFrameError) as raised:
        decode_jpeg(data, max_pixels=MAX_PIXELS)
    return raised.value.reason


def test_a_jpeg_becomes_rgb_rows() -> None:
    picture = decode_jpeg(jpeg(), max_pixels=MAX_PIXELS)
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - (200, 30, 60)).max() <= 3


def test_a_grey_jpeg_becomes_rgb_too() -> None:
    encoded = cv2.imencode(".jpg", np.full((20, 30), 90, np.uint8))[1].tobytes()
    assert decode_jpeg(encoded, max_pixels=MAX_PIXELS).shape == (20, 30, 3)


def test_an_orientation_tag_does_not_turn_the_picture_away_from_its_regions() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG", exif=exif)
    assert decode_jpeg(buffer.getvalue(), max_pixels=MAX_PIXELS).shape == (48, 64, 3)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", jpeg(kind="PNG"), jpeg(kind="GIF")])
def test_anything_but_a_jpeg_is_refused(data: bytes) -> None:
    assert reason(data) == "not_a_jpeg"


def test_a_cut_jpeg_is_refused() -> None:
    assert reason(jpeg()[:-40]) == "truncated"


def test_a_padded_jpeg_is_not_taken_for_a_cut_one() -> None:
    assert decode_jpeg(jpeg() + bytes(16), max_pixels=MAX_PIXELS).shape == (48, 64, 3)


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
        outcome = str(decode_jpeg(bytes(data), max_pixels=MAX_PIXELS).shape[2])
    except BadFrameError as error:
        outcome = error.reason
    assert outcome in {"3", "not_a_jpeg", "too_many_pixels", "truncated", "undecodable"}


def test_without_regions_the_whole_picture_is_one() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    [(region, pixels)] = cut_regions(picture, ())
    assert (region, pixels.shape) == ((0, 0, 64, 48), (48, 64, 3))


def test_regions_are_cut_in_their_order() -> None:
    picture = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    found = cut_regions(picture, ((10, 20, 5, 6), (0, 0, 1, 1)))
    assert [region for region, _ in found] == [(10, 20, 5, 6), (0, 0, 1, 1)]
    assert np.array_equal(found[0][1], picture[20:26, 10:15])


def test_a_region_over_the_edge_is_clipped_and_says_so() -> None:
    [(region, pixels)] = cut_regions(np.zeros((48, 64, 3), np.uint8), ((60, 40, 100, 100),))
    assert (region, pixels.shape) == ((60, 40, 4, 8), (8, 4, 3))


def test_a_region_outside_the_picture_is_a_bad_frame() -> None:
    with pytest.raises(BadFrameError, match="outside 64x48"):
        cut_regions(np.zeros((48, 64, 3), np.uint8), ((64, 0, 5, 5),))
