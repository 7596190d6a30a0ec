"""The one way in which stored pictures become pixels; camera frames have neither EXIF nor transparency."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps


def upright_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Uint8 [h, w, 3]: turned as the EXIF says, transparency on white.

    Raises what Pillow raises when the picture's bytes are damaged: it is decoded here.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.new("RGBA", layer.size, "white")
        upright.alpha_composite(layer)
    return np.asarray(upright.convert("RGB"))
