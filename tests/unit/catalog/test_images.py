"""Catalogue images: checked and decoded."""

import io
from pathlib import Path

import numpy as np
import pytest
import structlog
from PIL import Image

from framematch.catalog.images import MAX_BYTES, MAX_PIXELS, decode_rgb, read_image
from framematch.core.errors import CatalogError

RED = (255, 0, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_a_picture_of_a_known_format_is_decoded_to_rgb(kind: str) -> None:
    pixels = decode_rgb(encoded(Image.new("RGB", (8, 6), RED), kind))
    assert pixels.shape == (6, 8, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - RED).max() < 8


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I;16"])
def test_a_picture_of_any_mode_becomes_rgb(mode: str) -> None:
    assert decode_rgb(encoded(Image.new(mode, (8, 6)), "TIFF")).shape == (6, 8, 3)


def test_transparent_parts_are_white() -> None:
    assert decode_rgb(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 0)))).min() == 255


def test_a_picture_is_rotated_by_its_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to display
    assert decode_rgb(encoded(Image.new("RGB", (8, 6)), "JPEG", exif=exif)).shape == (8, 6, 3)


@pytest.mark.parametrize("data", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n", bytes(1000)])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(CatalogError, match="is not an image"):
        decode_rgb(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    whole = encoded(noise, kind)
    with pytest.raises(CatalogError, match="is damaged"):
        decode_rgb(whole[: len(whole) // 2])


def test_a_picture_with_a_corrupt_scan_is_refused() -> None:
    whole = encoded(Image.radial_gradient("L").resize((64, 64)), "JPEG")
    with pytest.raises(CatalogError, match="is damaged: Corrupt JPEG data"):
        decode_rgb(whole[: len(whole) - 100] + b"\xff\xd9")


def test_16_bits_are_scaled_and_do_not_become_white() -> None:
    ramp = np.tile(np.arange(0, 65_536, 256, dtype=np.uint16), (4, 1))
    assert np.array_equal(decode_rgb(encoded(Image.fromarray(ramp)))[..., 0], ramp >> 8)


def test_what_is_ignored_is_logged_with_the_name_of_the_file() -> None:
    with structlog.testing.capture_logs() as logs:
        decode_rgb(encoded(Image.new("RGB", (8, 6), RED), icc_profile=b"no profile"), name="photos/a.png")
    found = [(line["event"], line["file"], len(line["reasons"])) for line in logs]
    assert found == [("image_doubtful", "photos/a.png", 1)]


@pytest.mark.parametrize("side", [8_000, 10_000, 30_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    small = encoded(Image.new("1", (1, 1)), "BMP")
    bomb = small[:18] + side.to_bytes(4, "little") * 2 + small[26:]
    with pytest.raises(CatalogError, match=f"more than {MAX_PIXELS:,}"):
        decode_rgb(bomb)


def test_a_file_is_read_with_its_sha_256(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"abc")
    file = read_image(tmp_path.resolve(), "sub/a.jpg")
    assert file.data == b"abc"
    assert file.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret", "link"])
def test_a_path_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "images"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(CatalogError, match="outside the images folder"):
        read_image(root.resolve(), name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none.jpg", "not found"), (".", "not found"), ("a\0b", "cannot be read"), ("x" * 5000, "cannot be read")],
)
def test_a_path_that_names_no_file_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(CatalogError, match=reason):
        read_image(tmp_path.resolve(), name)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(CatalogError, match="more than 15 MB"):
        read_image(tmp_path.resolve(), "large")
