"""Converts stored pictures to RGB. Camera frames do not need it: they have neither EXIF nor transparency."""

import numpy as np
from PIL import Image, ImageOps

from framematch.core.arrays import Pixels

BOMB_ERRORS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What Pillow raises for implausibly large pictures; the warning only where it is turned into an error."""
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError)
"""What Pillow's decoders raise for damaged files."""


def upright_rgb(image: Image.Image) -> Pixels:
    """Rotate by the EXIF orientation, and put transparent pictures on white.

    The picture is decoded here, so damaged bytes raise `DECODE_ERRORS`.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.new("RGBA", layer.size, "white")
        upright.alpha_composite(layer)
    return np.asarray(upright.convert("RGB"))
