"""Decodes JPEGs with libjpeg-turbo, and refuses damaged ones. Threads may decode at once; nothing is printed."""

from dataclasses import dataclass

import numpy as np
import simplejpeg

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.jpeg_header import SCAN, JpegHeader, find_end, read_header
from framematch.pictures.jpeg_quirks import harmless, without_quirks
from framematch.pictures.rare_sampling import decode_rare_sampling

_MARKER = 0xFF
_MAX_SCANS = 100  # encoders write about ten
_RARE_SAMPLING = "Could not determine subsampling"  # TurboJPEG's message


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
        self.require_few_scans()
        try:
            return self._decode_whole(self.data, reduction)
        except ValueError as error:
            if find_end(self.data) is None:
                raise PictureError("truncated", "is damaged: it ends before its end marker") from None
            raise PictureError("undecodable", f"is damaged: {error}") from None

    def require_few_scans(self) -> None:
        """Refuse a picture that would take hours: each scan covers all of it, but may take a few bytes.

        Raises:
            PictureError: `undecodable`.
        """
        if (scans := _count_scans(self.data)) > _MAX_SCANS:
            raise PictureError("undecodable", f"has {scans} scans, more than the {_MAX_SCANS} allowed")

    def _decode_whole(self, data: bytes, reduction: int) -> Pixels:
        """Decode `data`, whatever libjpeg warns of that is no damage. ValueError with its message otherwise."""
        try:
            return self._decode(data, reduction)
        except ValueError as error:
            warning = str(error)
        if _RARE_SAMPLING in warning:
            return decode_rare_sampling(data, reduction)
        if (shorter := without_quirks(data, warning)) is not None:
            return self._decode_whole(shorter, reduction)
        if harmless(data, self.header, warning):
            return self._decode(data, reduction, strict=False)
        raise ValueError(warning)

    def _decode(self, data: bytes, reduction: int, *, strict: bool = True) -> Pixels:
        """Decode `data`; ValueError with libjpeg's message for an error, and with `strict` for a warning."""
        if reduction == 1:
            return np.asarray(simplejpeg.decode_jpeg(data, strict=strict), np.uint8)
        # The decoder takes the smallest size that is not below these.
        height, width = -(-self.height // reduction), -(-self.width // reduction)
        return np.asarray(simplejpeg.decode_jpeg(data, min_height=height, min_width=width, strict=strict), np.uint8)


def read_jpeg(data: bytes, *, max_pixels: int) -> Jpeg:
    """Read the header alone, so that a picture that needs too much memory is never decoded.

    Raises:
        PictureError: `not_a_jpeg` or `too_many_pixels`.
    """
    header = read_header(data)
    check_pixels(header.width, header.height, max_pixels)
    return Jpeg(data, header)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError `too_many_pixels` for a picture of this size."""
    if width * height > max_pixels:
        raise PictureError("too_many_pixels", f"has {width} x {height} pixels, more than {max_pixels:,}")


def _count_scans(data: bytes) -> int:
    """How often a JPEG has the marker that starts a scan; entropy-coded data never contains it."""
    if (scans := _count_markers(data)) > _MAX_SCANS:
        return _count_markers(data[: find_end(data)])  # what follows may be a video
    return scans


def _count_markers(data: bytes) -> int:
    # bytes.count takes 3 times as long.
    encoded = np.frombuffer(data, dtype=np.uint8)
    return int(np.count_nonzero((encoded[:-1] == _MARKER) & (encoded[1:] == SCAN)))
