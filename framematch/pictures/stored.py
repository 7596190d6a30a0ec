"""Decodes stored pictures - product photos, folders of images, uploads - to upright RGB in sRGB."""

import ctypes
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, _imaging

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.flatten import flattened
from framematch.pictures.heif import is_heif, open_heif
from framematch.pictures.jpeg import Jpeg, check_pixels, read_jpeg
from framematch.pictures.jpeg_header import EXIF, PROFILE, segments
from framematch.pictures.jpeg_header import START as JPEG_START
from framematch.pictures.orientation import lies_on_its_side, upright
from framematch.pictures.srgb import to_rgb, to_srgb

# Pillow opens more formats, with more risk: EPS runs Ghostscript.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
FORMATS_OF_REQUESTS: Final = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")
"""Those of phones and browsers: what anybody may send. The others can hold nearly anything."""

_SIGNATURES = (
    (b"\x89PNG", "PNG"), (b"GIF8", "GIF"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"BM", "BMP"),
)  # fmt: skip
_CMYK_COMPONENTS = 4
_METADATA = (EXIF, PROFILE)
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
    """A whole picture: RGB uint8 [h, w, 3], each side divided by `reduction` and rounded up.

    `doubts` say what was ignored, such as a damaged colour profile.
    """

    pixels: Pixels
    doubts: tuple[str, ...] = ()
    reduction: int = 1


@dataclass(frozen=True)
class OpenedPicture:
    """A picture whose header was read: its size in pixels, upright, is known and allowed, and nothing is decoded."""

    width: int
    height: int
    _orientation: int
    _read: Callable[[int], tuple[Pixels, int]]
    _doubts: list[str]

    def decode(self, reduction: int = 1) -> StoredPicture:
        """Decode it; only a JPEG is reduced, by 2, 4 or 8 as `Jpeg.decode` does, unless its colours are CMYK.

        Raises:
            PictureError: `truncated` or `undecodable`.
        """
        with _picture_errors(self._doubts):
            pixels, used = self._read(reduction)
        return StoredPicture(upright(pixels, self._orientation), tuple(dict.fromkeys(self._doubts)), used)


def decode_picture(data: bytes, *, max_pixels: int, formats: Sequence[str] = FORMATS) -> StoredPicture:
    """Decode a picture of one of `formats`; of an animation the first frame.

    It is turned upright by its orientation tag, put on white where it is transparent, converted to sRGB by its colour
    profile, and scaled to 8 bits. The size in the header is checked before anything is decoded.

    Raises:
        PictureError: `not_a_picture`, `unsupported_format`, `not_a_jpeg`, `too_many_pixels`, `truncated` or
            `undecodable`.
    """
    return open_picture(data, max_pixels=max_pixels, formats=formats).decode()


def open_picture(data: bytes, *, max_pixels: int, formats: Sequence[str] = FORMATS) -> OpenedPicture:
    """Read the header alone; errors as of `decode_picture`."""
    doubts: list[str] = []
    with _picture_errors(doubts, data, formats, max_pixels):
        if data.startswith(JPEG_START):
            opened = _open_jpeg(read_jpeg(data, max_pixels=max_pixels), doubts)
        elif is_heif(data):
            opened = _open_image(open_heif(data, formats), 1, doubts)  # its decoder turns it upright
        else:
            opened = _open_other(data, formats, doubts)
    check_pixels(opened.width, opened.height, max_pixels)
    return opened


@contextmanager
def _picture_errors(
    doubts: list[str], data: bytes = b"", formats: Sequence[str] = FORMATS, max_pixels: int | None = None
) -> Iterator[None]:
    try:
        yield
    except _BOMB_ERRORS:
        limit = "pixels than can be decoded" if max_pixels is None else f"than {max_pixels:,} pixels"
        raise PictureError("too_many_pixels", f"has more {limit}") from None
    except UnidentifiedImageError:
        raise _unknown(data, doubts, formats) from None
    except _DECODE_ERRORS as error:
        raise PictureError("undecodable", f"is damaged: {error}") from None


def _unknown(data: bytes, doubts: list[str], formats: Sequence[str]) -> PictureError:
    if doubts:
        return PictureError("undecodable", f"is damaged: {doubts[0]}")
    found = next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), None)
    if found in formats:
        return PictureError("undecodable", "is damaged, or of a kind that cannot be read; save it with 8 or 16 bits")
    known = ", ".join(formats)
    if found:
        return PictureError("unsupported_format", f"is a {found}, and only {known} are accepted here")
    return PictureError("not_a_picture", f"is not an image ({known} are known)")


def _open_jpeg(jpeg: Jpeg, doubts: list[str]) -> OpenedPicture:
    """Pixels from the decoder that notices damage; orientation, profile and CMYK from Pillow."""
    orientation, profile = _jpeg_metadata(jpeg, doubts)
    components = len(jpeg.header.sampling)

    def read(reduction: int) -> tuple[Pixels, int]:
        used = 1 if components == _CMYK_COMPONENTS else reduction
        pixels = jpeg.decode(used)
        try:
            if components == _CMYK_COMPONENTS:
                with _open(jpeg.data, ("JPEG",), doubts) as image:
                    return _in_srgb(image, profile, doubts), used
            if profile:
                decoded = pixels[..., 0] if components == 1 else pixels
                return _in_srgb(Image.fromarray(decoded), profile, doubts), used
        except (*_DECODE_ERRORS, *_BOMB_ERRORS) as error:
            doubts.append(f"its metadata cannot be read: {error}")
        return pixels, used

    width, height = (jpeg.height, jpeg.width) if lies_on_its_side(orientation) else (jpeg.width, jpeg.height)
    return OpenedPicture(width, height, orientation, read, doubts)


def _jpeg_metadata(jpeg: Jpeg, doubts: list[str]) -> tuple[int, bytes | None]:
    """The orientation and the colour profile. Pillow takes 0.1 ms to find that there is none."""
    if not any(segment.marker in _METADATA for segment in segments(jpeg.data)):
        return 1, None
    try:
        with _open(jpeg.data, ("JPEG",), doubts) as image:
            return _orientation(image, doubts), image.info.get("icc_profile")
    except (*_DECODE_ERRORS, *_BOMB_ERRORS) as error:
        doubts.append(f"its metadata cannot be read: {error}")
        return 1, None


def _open_other(data: bytes, formats: Sequence[str], doubts: list[str]) -> OpenedPicture:
    with _open(data, formats, doubts) as image:
        if image.format == "PNG":
            image.verify()  # compares the checksums, which loading does not; then it must be opened again
    image = _open(data, formats, doubts)
    # Pillow itself turns a TIFF upright.
    return _open_image(image, 1 if image.format == "TIFF" else _orientation(image, doubts), doubts)


def _open_image(image: Image.Image, orientation: int, doubts: list[str]) -> OpenedPicture:
    def read(_reduction: int) -> tuple[Pixels, int]:
        with image:
            if image.format == "TIFF":
                with _noting_warnings(doubts):
                    image.load()
            else:
                image.load()
            return _in_srgb(flattened(image), image.info.get("icc_profile"), doubts), 1

    width, height = (image.height, image.width) if lies_on_its_side(orientation) else image.size
    return OpenedPicture(width, height, orientation, read, doubts)


def _open(data: bytes, formats: Sequence[str], doubts: list[str]) -> Image.Image:
    with _noting_warnings(doubts):
        return Image.open(
            io.BytesIO(data), formats=[kind for kind in formats if kind != "HEIF"]
        )  # pi-heif's, not Pillow's


def _orientation(image: Image.Image, doubts: list[str]) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright."""
    try:
        with _noting_warnings(doubts):
            found = image.getexif().get(ExifTags.Base.Orientation)
    except _DECODE_ERRORS as error:
        doubts.append(f"its metadata cannot be read: {error}")
        return 1
    return found if isinstance(found, int) else 1


def _in_srgb(image: Image.Image, profile: bytes | None, doubts: list[str]) -> Pixels:
    if profile:
        try:
            return np.asarray(to_srgb(image, profile), np.uint8)
        except PictureError as error:
            doubts.append(error.message)
    return np.asarray(to_rgb(image), np.uint8)


@contextmanager
def _noting_warnings(doubts: list[str]) -> Iterator[None]:
    """Put what Pillow warns of into `doubts`; otherwise Python prints it, without the file's name."""
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            doubts += [str(one.message) for one in caught if one.category is not Image.DecompressionBombWarning]
