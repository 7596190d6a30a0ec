"""Brings Pillow's modes down to opaque pictures with 8 bits: depth, transparency, palettes."""

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError

_KNOWN = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB"})
_DEEP_GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_GREY = frozenset({"1", "L", "LA", "La"})
_DEEP_BITS, _BITS = 16, 8
_WHITE_IS_ZERO = 0


def flattened(image: Image.Image) -> Image.Image:
    """The loaded picture with 8 bits for each colour, on white where it is transparent.

    16 bits are scaled to 8 by their high byte, as Pillow itself does for colours.

    Raises:
        PictureError: it has numbers of 32 bits, of which nobody knows which one is white.
    """
    if image.mode in _DEEP_GREY:
        image = _with_8_bits(image)
    if image.mode not in _KNOWN:
        raise PictureError(
            "undecodable", f"has pixels of the kind {image.mode!r}, whose range is not known; save it with 8 or 16 bits"
        )
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    white.alpha_composite(layer)
    return white.convert("L" if image.mode in _GREY else "RGB")


def _with_8_bits(image: Image.Image) -> Image.Image:
    """A picture with up to 16 bits of grey as `L`, or as `LA` if one grey is transparent."""
    deep = np.asarray(image)
    bits, inverted = _DEEP_BITS, False
    if isinstance(image, TiffImageFile):
        bits = int(image.tag_v2.get(BITSPERSAMPLE, (_DEEP_BITS,))[0])
        inverted = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    grey: Pixels = (deep >> max(bits - _BITS, 0)).astype(np.uint8)
    if inverted:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return Image.fromarray(grey)
    alpha = np.where(deep == transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
