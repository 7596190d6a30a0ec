"""HEIC pictures: upright once, in sRGB, refused by their header, and named when the extra is missing."""

import struct
import sys

import numpy as np
import pytest

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.heif import is_heif
from framematch.pictures.stored import FORMATS_OF_REQUESTS, decode_picture, open_picture
from tests.unit.pictures.heic_files import heic
from tests.unit.pictures.samples import DISPLAY_P3, encoded, jpeg, quarters

PICTURE = quarters(96, 64)
MAX_PIXELS = 100_000


def decoded(data: bytes) -> Pixels:
    return decode_picture(data, max_pixels=MAX_PIXELS, formats=FORMATS_OF_REQUESTS).pixels


def difference(one: Pixels, other: Pixels) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_a_heic_is_turned_once_by_its_container_whatever_exif_says(turns: int, orientation: int | None) -> None:
    data = heic(np.ascontiguousarray(np.rot90(PICTURE, -turns)), quarter_turns=turns, orientation=orientation)
    opened = open_picture(data, max_pixels=MAX_PIXELS)
    assert (opened.width, opened.height) == (96, 64)
    assert difference(decoded(data), PICTURE) < 5


def test_a_wide_profile_is_converted_to_srgb() -> None:
    colour = np.full((64, 64, 3), (180, 110, 90), np.uint8)
    found = decoded(heic(colour, profile=DISPLAY_P3))
    assert difference(found, decoded(jpeg(colour, icc_profile=DISPLAY_P3, quality=95))) < 4
    assert difference(found, colour) > 6


def test_a_picture_larger_than_allowed_is_refused_by_its_header() -> None:
    with pytest.raises(PictureError, match="has 96 x 64 pixels, more than 6,000"):
        open_picture(heic(PICTURE), max_pixels=6_000)


def test_a_size_that_the_picture_does_not_have_is_refused() -> None:
    data = heic(PICTURE)
    at = data.index(b"ispe") + 8
    with pytest.raises(PictureError):
        decoded(data[:at] + struct.pack(">II", 8, 8) + data[at + 8 :])


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_a_cut_file_is_refused_and_nothing_is_printed(share: float, capfd: pytest.CaptureFixture[str]) -> None:
    data = heic(PICTURE)
    with pytest.raises(PictureError, match=r"is damaged|is not an image"):
        decoded(data[: round(len(data) * share)])
    assert capfd.readouterr() == ("", "")


def test_mutated_files_give_a_picture_or_a_reason() -> None:
    random, whole = np.random.default_rng(5), heic(PICTURE)
    for _ in range(150):
        data = bytearray(whole)
        at = int(random.integers(len(data)))
        data[at : at + 4] = random.bytes(4)
        try:
            decoded(bytes(data))
        except PictureError as error:
            assert error.reason in {"not_a_picture", "too_many_pixels", "undecodable", "unsupported_format"}  # noqa: PT017  # of many


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PictureError, match=r"needs the extra heif here: pip install 'framematch\[heif\]'") as refused:
        decoded(heic(PICTURE))
    assert refused.value.reason == "unsupported_format"


def test_where_heic_is_not_accepted_the_formats_are_named() -> None:
    with pytest.raises(PictureError, match="is a HEIC, and only JPEG, PNG are accepted here"):
        decode_picture(heic(PICTURE), max_pixels=MAX_PIXELS, formats=("JPEG", "PNG"))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP"])
def test_a_format_that_requests_may_not_have_is_not_decoded(kind: str) -> None:
    with pytest.raises(PictureError, match=f"is a {kind}, and only JPEG, PNG, WEBP, AVIF, HEIF are") as refused:
        decoded(encoded(PICTURE, kind))
    assert refused.value.reason == "unsupported_format"


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", False),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", False),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", False),
        (b"", False),
    ],
)
def test_a_heic_is_known_by_its_brands(start: bytes, found: bool) -> None:
    assert is_heif(start) is found
