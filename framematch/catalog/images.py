"""Catalogue images: read from a folder, checked before they are stored, decoded to RGB when an index is built."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from framematch.core.arrays import Pixels
from framematch.core.errors import CatalogError
from framematch.core.units import BYTES_PER_MB
from framematch.vision.rgb import BOMB_ERRORS, DECODE_ERRORS, upright_rgb

# An image is one MongoDB document, which may have 16 MB in all.
MAX_BYTES = 15_000_000
# The limit of a frame too; 150 MB once decoded.
MAX_PIXELS = 50_000_000
# Pillow opens more formats, with more risk: EPS runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")


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
    return ImageFile(name, hashlib.sha256(data).hexdigest(), data)


def decode_rgb(data: bytes) -> Pixels:
    """Decode an image to RGB [height, width, 3]: rotated by its EXIF orientation, on white where it is transparent.

    The size in the header is checked before anything is decoded.

    Raises:
        CatalogError: an unknown format, damaged, truncated or larger than `MAX_PIXELS`. The message completes "the
            image …".
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CatalogError(f"has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
            return upright_rgb(image)
    except BOMB_ERRORS:
        raise CatalogError(f"has more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise CatalogError(f"is not an image ({', '.join(FORMATS)} are known)") from None
    except DECODE_ERRORS as error:
        raise CatalogError(f"is damaged: {error}") from None
