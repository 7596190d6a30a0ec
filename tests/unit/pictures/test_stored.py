"""Stored pictures: upright, in 8 bits, on white, in sRGB, of every format; damaged ones are refused without a sound."""

import io
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.stored import StoredPicture, decode_picture
from tests.unit.pictures.samples import (
    DISPLAY_P3,
    DISPLAY_P3_PRIMARIES,
    END_OF_IMAGE,
    Primaries,
    colour_profile,
    encoded,
    grey_profile,
    inserted,
    jpeg,
    photo,
    quarters,
    scan_start,
    segment,
    with_orientation,
)

MAX_PIXELS = 100_000


def decoded(data: bytes) -> StoredPicture:
    return decode_picture(data, max_pixels=MAX_PIXELS)


def pixels(data: bytes) -> Pixels:
    found = decoded(data)
    assert found.doubts == ()
    return found.pixels


def difference(one: Pixels, other: Pixels) -> float:
    """The mean difference of each channel, which coding leaves small."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


def outcome_of(data: bytes) -> str:
    """`picture`, or the reason why it is none."""
    try:
        decoded(data)
    except PictureError as error:
        return error.reason
    return "picture"


LOSSY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 95},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_is_upright_by_each_orientation_in_each_format(kind: str, orientation: int) -> None:
    data = with_orientation(quarters(), orientation, kind, **LOSSY.get(kind, {}))
    assert difference(pixels(data), quarters()) < 4


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    assert np.array_equal(pixels(with_orientation(quarters(), orientation, "PNG")), quarters())


RAMP = np.tile(np.linspace(0, 255, 52).astype(np.uint8), (4, 1))
DEEP = RAMP.astype(np.uint16) << 8
GREY = np.stack([RAMP] * 3, axis=-1)


def by_opencv(picture: np.ndarray, ending: str) -> bytes:
    written, data = cv2.imencode(ending, picture)
    assert written
    return data.tobytes()


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(DEEP), "PNG"),
        encoded(Image.fromarray(DEEP), "TIFF"),
        encoded(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
        encoded(Image.fromarray(DEEP.astype(">u2")), "TIFF"),
        encoded(Image.fromarray(65_535 - DEEP), "TIFF", tiffinfo={262: 0}),  # white is zero
        by_opencv(np.dstack([DEEP] * 3), ".png"),
        by_opencv(np.dstack([DEEP] * 3), ".tiff"),
        by_opencv(np.dstack([DEEP, DEEP, DEEP, np.full_like(DEEP, 65_535)]), ".png"),
        encoded(Image.fromarray(RAMP), "PNG"),
        encoded(Image.fromarray(RAMP), "BMP"),
        encoded(Image.fromarray(RAMP), "TIFF", tiffinfo={262: 0}),  # Pillow stores it inverted
        encoded(Image.fromarray(RAMP), "PNG", "LA"),
        encoded(Image.fromarray(RAMP), "GIF"),
        encoded(Image.fromarray(GREY), "WEBP", lossless=True),
    ],
)
def test_a_ramp_of_any_depth_is_a_ramp_of_8_bits(data: bytes) -> None:
    assert np.abs(pixels(data).astype(int) - GREY).max() <= 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), "pixels of the kind 'I'"),
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "pixels of the kind 'F'"),
        (by_opencv(GREY.astype(np.float32) / 255, ".tiff"), "of a kind that cannot be read"),
        (jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "has 12 bits"),
    ],
)
def test_a_depth_that_cannot_be_scaled_is_refused_by_name(data: bytes, expected: str) -> None:
    with pytest.raises(PictureError, match=expected):
        decoded(data)


def transparent_left(mode: str) -> Image.Image:
    """Black, and transparent in its left half."""
    image = Image.new("RGBA", (8, 4), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 4))
    return image if mode == "RGBA" else image.convert(mode)


def palette() -> Image.Image:
    image = Image.new("P", (8, 4), 1)
    image.putpalette([9, 9, 9, 0, 0, 0])
    image.paste(0, (0, 0, 4, 4))
    return image


@pytest.mark.parametrize(
    "data",
    [
        encoded(transparent_left("RGBA"), "PNG"),
        encoded(transparent_left("LA"), "PNG"),
        encoded(transparent_left("RGBA"), "WEBP", lossless=True),
        encoded(transparent_left("RGBA"), "TIFF"),
        encoded(transparent_left("RGBA"), "AVIF", quality=100),
        encoded(palette(), "PNG", transparency=0),
        encoded(palette(), "PNG", transparency=bytes([0, 255])),
        encoded(palette(), "GIF", transparency=0),
        encoded(palette().convert("L"), "PNG", transparency=9),
        encoded(palette().convert("RGB"), "PNG", transparency=(9, 9, 9)),
        encoded(Image.fromarray(np.asarray(palette().convert("L")).astype(np.uint16)), "PNG", transparency=9),
    ],
)
def test_what_is_transparent_is_white_in_every_mode(data: bytes) -> None:
    found = pixels(data)
    assert found[:, :4].min() >= 254
    assert found[:, 4:].max() <= 1


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    found = pixels(encoded(Image.new("RGBA", (2, 2), (200, 0, 0, 128)), "PNG"))
    assert np.abs(found.astype(int) - (227, 127, 127)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(kind: str) -> None:
    assert difference(pixels(encoded(quarters(), kind, "CMYK", **LOSSY.get(kind, {}))), quarters()) < 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"quality": 95} if kind == "AVIF" else {"lossless": True} if kind == "WEBP" else {}
    found = pixels(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert np.abs(found.astype(int) - (255, 0, 0)).max() <= 3


SRGB_PRIMARIES: Primaries = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
ADOBE_RGB_PRIMARIES: Primaries = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
WITH_PROFILES: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": LOSSY["JPEG"],
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100},
}


def in_srgb(colour: tuple[int, ...], primaries: Primaries, gamma: float) -> Pixels:
    """What the colour is in sRGB, by the definition of both spaces."""
    light = np.array(primaries).T @ (np.array(colour) / 255) ** gamma
    linear = np.clip(np.linalg.inv(np.array(SRGB_PRIMARIES).T) @ light, 0, 1)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


@pytest.mark.parametrize("kind", WITH_PROFILES)
@pytest.mark.parametrize("primaries", [DISPLAY_P3_PRIMARIES, ADOBE_RGB_PRIMARIES])
def test_a_wide_profile_is_converted_to_srgb(kind: str, primaries: Primaries) -> None:
    stored = np.full((8, 8, 3), (180, 110, 90), np.uint8)
    found = pixels(encoded(stored, kind, icc_profile=colour_profile(*primaries, 2.2), **WITH_PROFILES[kind]))
    expected = in_srgb((180, 110, 90), primaries, 2.2)
    assert np.abs(expected.astype(int) - (180, 110, 90)).max() > 8
    assert np.abs(found[4, 4].astype(int) - expected).max() <= 3


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("PNG", "LA"), ("JPEG", "L"), ("TIFF", "L")])
def test_a_grey_profile_is_converted_to_srgb(kind: str, mode: str) -> None:
    linear = np.full((8, 8), 55, np.uint8)  # 0.2157 of the light, which is 128 in sRGB
    found = pixels(encoded(linear, kind, mode, icc_profile=grey_profile(1.0)))
    assert np.abs(found.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_srgb_profile_changes_no_pixel(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_profile, without = (encoded(photo(), kind, icc_profile=one, quality=90) for one in (profile, None))
    assert np.array_equal(pixels(with_profile), pixels(without))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_damaged_profile_is_ignored_and_noted(kind: str) -> None:
    found = decoded(encoded(quarters(), kind, icc_profile=b"no profile" * 20, **LOSSY.get(kind, {})))
    assert difference(found.pixels, quarters()) < 4
    assert [doubt.startswith("has a colour profile that cannot be used") for doubt in found.doubts] == [True]


@pytest.mark.parametrize(
    ("mode", "profile"), [("CMYK", DISPLAY_P3), ("RGB", grey_profile(1.0)), ("CMYK", grey_profile(1.0))]
)
def test_a_profile_for_other_colours_is_ignored(mode: str, profile: bytes) -> None:
    found = pixels(encoded(quarters(), "JPEG", mode, icc_profile=profile, **LOSSY["JPEG"]))
    assert difference(found, quarters()) < 4


FILES = {
    "JPEG": jpeg(),
    "PNG": encoded(photo(), "PNG"),
    "PNG with a palette": encoded(Image.fromarray(photo()).quantize(), "PNG"),
    "PNG with alpha": encoded(photo(), "PNG", "RGBA"),
    "WEBP": encoded(photo(), "WEBP"),
    "WEBP, lossless": encoded(photo(), "WEBP", lossless=True),
    "AVIF": encoded(photo(), "AVIF"),
    "GIF": encoded(photo(), "GIF"),
    "BMP": encoded(photo(), "BMP"),
    "TIFF": encoded(photo(), "TIFF"),
    "TIFF, deflated": encoded(photo(), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, LZW": encoded(photo(), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
@pytest.mark.parametrize("kind", FILES)
def test_a_cut_file_is_refused_and_nothing_is_printed(
    kind: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = FILES[kind]
    with pytest.raises(PictureError, match=r"is damaged|is not an image|no JPEG header"):
        decoded(data[: round(len(data) * share)])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["PNG", "PNG with a palette", "PNG with alpha"])
def test_a_flipped_bit_of_a_png_is_noticed_by_its_checksums(kind: str) -> None:
    data = bytearray(FILES[kind])
    for at in range(len(data) // 3, len(data) - len(data) // 3, 97):
        data[at] ^= 4
        with pytest.raises(PictureError, match="is damaged"):
            decoded(bytes(data))
        data[at] ^= 4


@pytest.mark.parametrize("kind", FILES)
def test_mutated_files_give_a_picture_or_a_reason_and_nothing_is_printed(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(zlib.crc32(kind.encode()))
    for number in range(120):
        data = bytearray(FILES[kind])
        at = int(random.integers(min(len(data), 300 if number % 2 else len(data))))
        length = int(random.choice([1, 4, 30]))
        data[at : at + length] = random.bytes(length)
        assert outcome_of(bytes(data)) in {
            "picture", "not_a_picture", "not_a_jpeg", "too_many_pixels", "truncated", "undecodable"
        }  # fmt: skip
    assert capfd.readouterr() == ("", "")


def test_what_pillow_logs_of_a_damaged_tiff_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    data = FILES["TIFF"]
    samples = data.index(b"\x15\x01\x03\0\x01\0\0\0\x03")  # the tag of samples per pixel
    with pytest.raises(PictureError, match="is damaged, or of a kind that cannot be read"):
        decoded(data[: samples + 8] + b"\xff" + data[samples + 9 :])
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_whose_scan_is_corrupt_is_refused_as_a_frame_would_be() -> None:
    half = (scan_start(jpeg()) + len(jpeg())) // 2
    with pytest.raises(PictureError, match="premature end of data segment"):
        decoded(jpeg()[:half] + END_OF_IMAGE)


def test_damaged_metadata_is_noted_and_the_picture_is_taken(recwarn: pytest.WarningsRecorder) -> None:
    entry = b"\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\xff\xff\0\0\x10\0\0\0\0\0"  # an orientation with 65,535 values
    found = decoded(inserted(jpeg(), 2, segment(0xE1, b"Exif\0\0MM\0*" + entry)))
    assert found.pixels.shape == (64, 96, 3)
    assert found.doubts
    assert len(recwarn) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_costs_no_picture_its_pixels(kind: str, exif: bytes) -> None:
    data = encoded(quarters(), kind, exif=exif, **LOSSY.get(kind, {}))
    assert difference(decoded(data).pixels, quarters()) < 4


def test_threads_do_not_mix_up_their_warnings() -> None:
    damaged = encoded(quarters(), "PNG", icc_profile=b"no profile" * 20)
    files = [damaged, encoded(quarters(), "PNG")] * 40
    with ThreadPoolExecutor(4) as pool:
        doubts = [bool(found.doubts) for found in pool.map(decoded, files)]
    assert doubts == [True, False] * 40


def test_a_picture_larger_than_allowed_is_refused_by_its_header() -> None:
    with pytest.raises(PictureError, match="has 400 x 300 pixels, more than 100,000"):
        decoded(encoded(Image.new("L", (400, 300)), "PNG"))


@pytest.mark.parametrize("data", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", bytes(1_000), b"RIFF"])
def test_anything_else_is_no_picture(data: bytes) -> None:
    with pytest.raises(PictureError, match=r"is not an image \(JPEG, PNG") as raised:
        decoded(data)
    assert raised.value.reason == "not_a_picture"


def test_the_pixels_of_a_usual_photo_are_those_of_pillow() -> None:
    for data in (jpeg(), jpeg(progressive=True), encoded(photo(), "PNG"), encoded(photo(), "WEBP")):
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(pixels(data), np.asarray(image.convert("RGB")))
