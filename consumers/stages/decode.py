"""Decodes a record's bytes to RGB regions; anything wrong with them is a BadFrameError with a stable reason."""

from dataclasses import dataclass

from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError, PictureError
from framematch.core.frames import Region
from framematch.pictures import jpeg
from framematch.pictures.regions import clipped


@dataclass(frozen=True)
class FrameJpeg:
    """A record's JPEG whose header was read: its size in pixels is known, and nothing is decoded yet.

    An orientation tag is ignored: regions are in pixels of the encoded picture.
    """

    jpeg: jpeg.Jpeg

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self.jpeg.data

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
            raise bad_frame(error, self.jpeg.data) from None


def read_jpeg(data: bytes, *, max_pixels: int) -> FrameJpeg:
    """Read the header alone, so that a picture that needs too much memory is never decoded.

    Raises:
        BadFrameError: `not_a_jpeg` or `too_many_pixels`.
    """
    try:
        return FrameJpeg(jpeg.read_jpeg(data, max_pixels=max_pixels))
    except PictureError as error:
        raise bad_frame(error, data) from None


def bad_frame(error: PictureError, data: bytes) -> BadFrameError:
    """The error for a frame whose JPEG is not usable."""
    return BadFrameError(error.reason, f"the picture of {len(data)} bytes {error.message}")


def clip_regions(width: int, height: int, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """Clip each region to the picture; without regions the whole picture is the only one.

    Boxes that are then equal are one region: they would be events with one id.

    Raises:
        BadFrameError: `region`, when a box lies outside the picture.
    """
    try:
        found = [clipped(region, width, height) for region in regions or ((0, 0, width, height),)]
    except PictureError as error:
        raise BadFrameError(error.reason, f"the picture {error.message}") from None
    return tuple(dict.fromkeys(found))
