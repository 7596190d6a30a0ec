"""Decodes stored pictures - product photos, folders of images - to upright RGB in sRGB."""

import ctypes
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, _imaging

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.flatten import flattened
from framematch.pictures.jpeg import Jpeg, read_jpeg
from framematch.pictures.jpeg_header import START as JPEG_START
from framematch.pictures.srgb import to_rgb, to_srgb

# Pillow opens more formats, with more risk: EPS runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

_SIGNATURES = (b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
_CMYK_COMPONENTS = 4
_BOMB_ERRORS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's decoders raise for damaged files.
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, OverflowError, RuntimeError, TypeError,
    struct.error, zlib.error,
)  # fmt: skip


def _silence() -> None:
    """Keep Pillow and libtiff from writing texts that name no file, about errors that Pillow raises too."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    except (OSError, AttributeError):  # a Pillow that was built without libtiff, or in another way
        return


_silence()

# Python's filters of warnings belong to the process, so threads take turns where Pillow may warn.
_warnings_lock = threading.Lock()


@dataclass(frozen=True)
class StoredPicture:
    """A whole picture: RGB uint8 [h, w, 3]. `doubts` say what was ignored, such as a damaged colour profile."""

    pixels: Pixels
    doubts: tuple[str, ...] = ()


def decode_picture(data: bytes, *, max_pixels: int) -> StoredPicture:
    """Decode a picture of one of `FORMATS`; of an animation the first frame.

    It is turned upright by its orientation tag, put on white where it is transparent, converted to sRGB by its colour
    profile, and scaled to 8 bits. The size in the header is checked before anything is decoded.

    Raises:
        PictureError: `not_a_picture`, `not_a_jpeg`, `too_many_pixels`, `truncated` or `undecodable`.
    """
    doubts: list[str] = []
    jpeg = read_jpeg(data, max_pixels=max_pixels) if data.startswith(JPEG_START) else None
    try:
        if jpeg is not None:
            pixels, orientation = _decode_jpeg(jpeg, doubts)
        else:
            pixels, orientation = _decode_other(data, max_pixels, doubts)
    except _BOMB_ERRORS:
        raise PictureError("too_many_pixels", f"has more than {max_pixels:,} pixels") from None
    except UnidentifiedImageError:
        raise _unknown(data, doubts) from None
    except _DECODE_ERRORS as error:
        raise PictureError("undecodable", f"is damaged: {error}") from None
    return StoredPicture(_upright(pixels, orientation), tuple(dict.fromkeys(doubts)))


def _unknown(data: bytes, doubts: list[str]) -> PictureError:
    if doubts:
        return PictureError("undecodable", f"is damaged: {doubts[0]}")
    if data.startswith(_SIGNATURES):
        return PictureError("undecodable", "is damaged, or of a kind that cannot be read; save it with 8 or 16 bits")
    return PictureError("not_a_picture", f"is not an image ({', '.join(FORMATS)} are known)")


def _decode_jpeg(jpeg: Jpeg, doubts: list[str]) -> tuple[Pixels, int]:
    """Pixels from the decoder that notices damage; orientation, profile and CMYK from Pillow."""
    pixels = jpeg.decode()
    try:
        with _open(jpeg.data, doubts) as image:
            orientation = _orientation(image, doubts)
            profile, components = image.info.get("icc_profile"), len(jpeg.header.sampling)
            if components == _CMYK_COMPONENTS:
                pixels = _in_srgb(image, profile, doubts)
            elif profile:
                decoded = pixels[..., 0] if components == 1 else pixels
                pixels = _in_srgb(Image.fromarray(decoded), profile, doubts)
    except (*_DECODE_ERRORS, *_BOMB_ERRORS) as error:
        doubts.append(f"its metadata cannot be read: {error}")
        orientation = 1
    return pixels, orientation


def _decode_other(data: bytes, max_pixels: int, doubts: list[str]) -> tuple[Pixels, int]:
    with _open(data, doubts) as image:
        if image.format == "PNG":
            image.verify()  # compares the checksums, which loading does not; then it must be opened again
    with _open(data, doubts) as image:
        if image.width * image.height > max_pixels:
            size = f"{image.width} x {image.height}"
            raise PictureError("too_many_pixels", f"has {size} pixels, more than {max_pixels:,}")
        if image.format == "TIFF":
            with _noting_warnings(doubts):
                image.load()
        else:
            image.load()
        profile = image.info.get("icc_profile")
        orientation = _orientation(image, doubts)
        return _in_srgb(flattened(image), profile, doubts), orientation


def _open(data: bytes, doubts: list[str]) -> Image.Image:
    with _noting_warnings(doubts):
        return Image.open(io.BytesIO(data), formats=FORMATS)


def _orientation(image: Image.Image, doubts: list[str]) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright."""
    with _noting_warnings(doubts):
        found = image.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) else 1


def _in_srgb(image: Image.Image, profile: bytes | None, doubts: list[str]) -> Pixels:
    if profile:
        try:
            return np.asarray(to_srgb(image, profile), np.uint8)
        except PictureError as error:
            doubts.append(error.message)
    return np.asarray(to_rgb(image), np.uint8)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo one of the eight ways in which a camera can be held or mirrored."""
    turned = {
        2: lambda: pixels[:, ::-1],
        3: lambda: pixels[::-1, ::-1],
        4: lambda: pixels[::-1],
        5: lambda: pixels.swapaxes(0, 1),
        6: lambda: np.rot90(pixels, -1),
        7: lambda: pixels[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(pixels),
    }.get(orientation, lambda: pixels)()
    return np.ascontiguousarray(turned)


@contextmanager
def _noting_warnings(doubts: list[str]) -> Iterator[None]:
    """Put what Pillow warns of into `doubts`; otherwise Python prints it, without the file's name."""
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            doubts += [str(one.message) for one in caught if one.category is not Image.DecompressionBombWarning]
