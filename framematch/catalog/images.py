"""Catalogue pictures: read from a folder, checked before they are stored, decoded to RGB when an index is built."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from framematch.core.errors import CatalogError
from framematch.vision.rgb import upright_rgb

# An image is one MongoDB document, which may have 16 MB with everything in it.
MAX_BYTES = 15_000_000
# As many as a frame may have; 150 MB once decoded.
MAX_PIXELS = 50_000_000
# What shops have. Pillow opens more (EPS runs Ghostscript), which we don't want to meet.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

# What Pillow's decoders raise for damaged files.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError)
_BOMB_ERRORS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class ImageFile:
    """An image file as the catalogue names it, its bytes and their SHA-256 in hexadecimal."""

    name: str
    digest: str
    data: bytes


def read_image(root: Path, name: str) -> ImageFile:
    """The file `name` below the resolved folder `root`; links that lead out of it are not followed.

    Raises:
        CatalogError: no such file, outside of `root`, unreadable, or larger than `MAX_BYTES`.
    """
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise CatalogError(f"image {name!r} is outside the images folder")
        if not path.is_file():
            raise CatalogError(f"image {name!r} not found")
        if path.stat().st_size > MAX_BYTES:
            raise CatalogError(f"image {name!r} has more than {MAX_BYTES // 1_000_000} MB")
        data = path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError: a NUL in the name; RuntimeError: links that go in a circle.
        raise CatalogError(f"image {name!r} cannot be read: {error}") from None
    return ImageFile(name, hashlib.sha256(data).hexdigest(), data)


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """The picture as uint8 [height, width, 3] RGB: turned as its EXIF says, transparency on white.

    The header's size is checked before a pixel is decoded.

    Raises:
        CatalogError: not an image of a known format, damaged, truncated or larger than `MAX_PIXELS`. The message
            completes "the image …".
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CatalogError(f"has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
            return upright_rgb(image)
    except _BOMB_ERRORS:
        raise CatalogError(f"has more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise CatalogError(f"is not an image ({', '.join(FORMATS)} are known)") from None
    except _DECODE_ERRORS as error:
        raise CatalogError(f"is damaged: {error}") from None
