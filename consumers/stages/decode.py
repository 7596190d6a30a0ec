"""Decodes a record's bytes to RGB regions; anything wrong with them is a BadFrameError with a stable reason."""

from dataclasses import dataclass

from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError, PictureError
from framematch.core.frames import Region
from framematch.pictures import jpeg


@dataclass(frozen=True)
class FrameJpeg:
    """A record's JPEG whose header was read: its size in pixels is known, and nothing is decoded yet.

    An orientation tag is ignored: regions are in pixels of the encoded picture.
    """

    jpeg: jpeg.Jpeg

    @property
    def width(self) -> int:
        """In pixels."""
        return self.jpeg.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.jpeg.height

    def decode(self, reduction: int = 1) -> Pixels:
        """The picture as RGB, uint8 [ceil(height / reduction), ceil(width / reduction), 3]; `reduction` is 1, 2, 4, 8.

        Raises:
            BadFrameError: `truncated` or `undecodable`.
        """
        try:
            return self.jpeg.decode(reduction)
        except PictureError as error:
            raise _bad_frame(error, self.jpeg.data) from None


def read_jpeg(data: bytes, *, max_pixels: int) -> FrameJpeg:
    """Read the header alone, so that a picture that needs too much memory is never decoded.

    Raises:
        BadFrameError: `not_a_jpeg` or `too_many_pixels`.
    """
    try:
        return FrameJpeg(jpeg.read_jpeg(data, max_pixels=max_pixels))
    except PictureError as error:
        raise _bad_frame(error, data) from None


def _bad_frame(error: PictureError, data: bytes) -> BadFrameError:
    return BadFrameError(error.reason, f"the picture of {len(data)} bytes {error.message}")


def clip_regions(width: int, height: int, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """Clip each region to the picture; without regions the whole picture is the only one.

    Boxes that are then equal are one region: they would be events with one id.

    Raises:
        BadFrameError: `region`, when a box lies outside the picture.
    """
    found = []
    for x, y, box_width, box_height in regions or ((0, 0, width, height),):
        right, bottom = min(x + box_width, width), min(y + box_height, height)
        if x >= right or y >= bottom:
            raise BadFrameError("region", f"the box {[x, y, box_width, box_height]} is outside {width}x{height}")
        found.append((x, y, right - x, bottom - y))
    return tuple(dict.fromkeys(found))


def cut(picture: Pixels, region: Region, reduction: int = 1) -> Pixels:
    """The pixels [h, w, 3] of a region: a view of `picture`, which may be reduced; `region` is in full-size pixels."""
    x, y, width, height = region
    right, bottom = -(-(x + width) // reduction), -(-(y + height) // reduction)
    return picture[y // reduction : bottom, x // reduction : right]
