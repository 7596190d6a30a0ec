"""Catalogue images: read from a folder, checked before they are stored, decoded to RGB when an index is built."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import structlog

from framematch.core.arrays import Pixels
from framematch.core.errors import CatalogError, PictureError
from framematch.core.units import BYTES_PER_MB
from framematch.pictures.stored import decode_picture

log = structlog.get_logger()

# An image is one MongoDB document, which may have 16 MB in all.
MAX_BYTES = 15_000_000
# The limit of a frame too; 150 MB once decoded.
MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class ImageFile:
    """An image file: its name in the catalogue, its bytes and their SHA-256 in hexadecimal."""

    name: str
    digest: str
    data: bytes


def read_image(root: Path, name: str) -> ImageFile:
    """Read the file `name` below the resolved folder `root`; links out of it are not followed.

    Raises:
        CatalogError: the file is missing, outside of `root`, unreadable, or larger than `MAX_BYTES`.
    """
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise CatalogError(f"image {name!r} is outside the images folder")
        if not path.is_file():
            raise CatalogError(f"image {name!r} not found")
        if path.stat().st_size > MAX_BYTES:
            raise CatalogError(f"image {name!r} has more than {MAX_BYTES // BYTES_PER_MB} MB")
        data = path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError: a NUL in the name. RuntimeError: circular links.
        raise CatalogError(f"image {name!r} cannot be read: {error}") from None
    return image_file(name, data)


def image_file(name: str, data: bytes) -> ImageFile:
    """The file with these bytes, and their digest."""
    return ImageFile(name, hashlib.sha256(data).hexdigest(), data)


def decode_rgb(data: bytes, *, name: str = "") -> Pixels:
    """Decode an image to RGB [height, width, 3], as the edge decodes the pictures of a folder (`decode_picture`).

    With its file's `name`, what was ignored is logged, such as a damaged colour profile.

    Raises:
        CatalogError: an unknown format, damaged, truncated or larger than `MAX_PIXELS`. The message completes "the
            image …".
    """
    try:
        picture = decode_picture(data, max_pixels=MAX_PIXELS)
    except PictureError as error:
        raise CatalogError(error.message) from None
    if name and picture.doubts:
        log.warning("image_doubtful", file=name, reasons=list(picture.doubts))
    return picture.pixels
