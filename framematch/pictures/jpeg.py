"""Decodes JPEGs with libjpeg-turbo, and refuses damaged ones. Threads may decode at once; nothing is printed."""

from dataclasses import dataclass

import numpy as np
import simplejpeg

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.jpeg_header import JpegHeader, read_header
from framematch.pictures.jpeg_quirks import harmless, without_quirks
from framematch.pictures.rare_sampling import decode_rare_sampling

_MARKER, _SCAN = 0xFF, 0xDA
_MAX_SCANS = 100  # encoders write about ten
# Messages of libjpeg, of Pillow and of TurboJPEG.
_ENDS_EARLY = ("Premature end of JPEG file", "image file is truncated")
_RARE_SAMPLING = "Could not determine subsampling"


@dataclass(frozen=True)
class Jpeg:
    """A JPEG whose header was read: its size in pixels is known, and nothing is decoded yet."""

    data: bytes
    header: JpegHeader

    @property
    def width(self) -> int:
        """In pixels, as encoded: an orientation tag is ignored."""
        return self.header.width

    @property
    def height(self) -> int:
        """In pixels, as encoded: an orientation tag is ignored."""
        return self.header.height

    def decode(self, reduction: int = 1) -> Pixels:
        """The picture as RGB, uint8 [ceil(height / reduction), ceil(width / reduction), 3]; `reduction` is 1, 2, 4, 8.

        A reduced picture has the mean of each block of pixels at a fraction of the cost: the decoder skips the fine
        detail. What libjpeg warns of is damage, but for what some cameras write into every picture (`jpeg_quirks`).
        Bytes behind the end marker are ignored.

        Raises:
            PictureError: `truncated` (its end is missing) or `undecodable` (it is damaged, or of an unknown kind).
        """
        # Each scan covers the whole picture but may take a few bytes: a record full of them would take hours.
        if (scans := _count_scans(self.data)) > _MAX_SCANS:
            raise PictureError("undecodable", f"has {scans} scans, more than the {_MAX_SCANS} allowed")
        try:
            return self._decode(self.data, reduction)
        except ValueError as error:
            warning = str(error)
        try:
            return self._decode_despite(warning, reduction)
        except ValueError as error:
            raise _verdict(str(error)) from None

    def _decode(self, data: bytes, reduction: int, *, strict: bool = True) -> Pixels:
        """Decode `data`; ValueError with libjpeg's message for an error, and with `strict` for a warning."""
        if reduction == 1:
            return np.asarray(simplejpeg.decode_jpeg(data, strict=strict), np.uint8)
        # The decoder takes the smallest size that is not below these.
        height, width = -(-self.height // reduction), -(-self.width // reduction)
        return np.asarray(simplejpeg.decode_jpeg(data, min_height=height, min_width=width, strict=strict), np.uint8)

    def _decode_despite(self, warning: str, reduction: int) -> Pixels:
        """Decode what `warning` is about, if that is no damage. ValueError as for `_decode`."""
        if _RARE_SAMPLING in warning:
            return decode_rare_sampling(self.data, reduction)
        if (mended := without_quirks(self.data, warning)) is not None:
            try:
                return self._decode(mended, reduction)
            except ValueError as error:
                warning = str(error)
        if not harmless(mended or self.data, self.header, warning):
            raise ValueError(warning)
        return self._decode(mended or self.data, reduction, strict=False)


def read_jpeg(data: bytes, *, max_pixels: int) -> Jpeg:
    """Read the header alone, so that a picture that needs too much memory is never decoded.

    Raises:
        PictureError: `not_a_jpeg` or `too_many_pixels`.
    """
    header = read_header(data)
    if header.width * header.height > max_pixels:
        size = f"{header.width} x {header.height}"
        raise PictureError("too_many_pixels", f"has {size} pixels, more than {max_pixels:,}")
    return Jpeg(data, header)


def _count_scans(data: bytes) -> int:
    """How often a JPEG has the marker that starts a scan; entropy-coded data never contains it."""
    # bytes.count takes 3 times as long.
    encoded = np.frombuffer(data, dtype=np.uint8)
    return int(np.count_nonzero((encoded[:-1] == _MARKER) & (encoded[1:] == _SCAN)))


def _verdict(message: str) -> PictureError:
    if message.startswith(_ENDS_EARLY):
        return PictureError("truncated", "is damaged: it ends before its end marker")
    return PictureError("undecodable", f"is damaged: {message}")
