"""Converts stored pictures to RGB. Camera frames do not need it: they have neither EXIF nor transparency."""

import numpy as np
from PIL import Image, ImageOps

from framematch.vision.arrays import Pixels


def upright_rgb(image: Image.Image) -> Pixels:
    """Rotate by the EXIF orientation, and put transparent pictures on white.

    The picture is decoded here, so damaged bytes raise Pillow's exceptions.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.new("RGBA", layer.size, "white")
        upright.alpha_composite(layer)
    return np.asarray(upright.convert("RGB"))
