"""Converts a decoded picture to sRGB by its colour profile, as browsers and photo viewers do."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageCms

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError

# Pillow's mode for the colour space that a profile is about.
_MODES: Mapping[str, str] = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_GREY = ("1", "L")
# Variants of sRGB differ by rounding. Adobe RGB and Display P3 differ by more than 30 levels.
_SAME_LEVELS = 4
_STEPS = 6


def to_rgb(image: Image.Image) -> Image.Image:
    """An opaque picture as RGB by Pillow's own formulas, which take it for sRGB (or for plain CMYK)."""
    return image if image.mode == "RGB" else image.convert("RGB")


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An opaque picture as RGB in sRGB. A profile that is sRGB in effect, or for other colours, changes no pixel.

    Raises:
        PictureError: the profile cannot be used.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(source.profile.xcolor_space.strip())
        if mode is None or not _fits(mode, image):
            return to_rgb(image)
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if mode != "CMYK" and _changes_little(transform, mode):
            return to_rgb(image)
        converted = ImageCms.applyTransform(image.convert(mode), transform)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise PictureError("undecodable", f"has a colour profile that cannot be used: {error}") from None
    return to_rgb(image) if converted is None else converted


def _fits(mode: str, image: Image.Image) -> bool:
    """Whether a profile for this mode can be meant for the picture. Many grey ones have a profile for colours."""
    if image.mode == "CMYK" or mode == "CMYK":
        return image.mode == mode
    return mode == "RGB" or image.mode in _GREY


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the profile is sRGB but for rounding, as nearly all are: then pixels stay as they are encoded."""
    sample = Image.fromarray(_colours()).convert(mode)
    changed = ImageCms.applyTransform(sample, transform)
    if changed is None:
        return True
    difference = np.asarray(changed, np.int16) - np.asarray(sample.convert("RGB"), np.int16)
    return int(np.abs(difference).max()) <= _SAME_LEVELS


def _colours() -> Pixels:
    """A picture of colours from the whole RGB cube, uint8 [n, 1, 3]."""
    levels = np.linspace(0, 255, _STEPS).astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 1, 3)
