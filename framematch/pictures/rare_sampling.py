"""Decodes JPEGs whose colour sampling TurboJPEG does not know, such as 4:1:0. Here less damage is noticed."""

import io

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from framematch.core.arrays import Pixels
from framematch.pictures.jpeg_quirks import with_bare_header


def decode_rare_sampling(data: bytes, reduction: int) -> Pixels:
    """The picture as RGB, reduced by the mean of blocks. `data` is a JPEG whose header was read.

    Raises:
        ValueError: it does not decode, or ends early.
    """
    try:
        # Without metadata, of whose damage Pillow would warn. Image.open would add a limit of its own.
        with JpegImageFile(io.BytesIO(with_bare_header(data))) as image:
            return np.asarray(image.convert("RGB").reduce(reduction), np.uint8)
    except (OSError, SyntaxError) as error:
        raise ValueError(str(error)) from None
