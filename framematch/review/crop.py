"""From the record of a frame to the JPEG of one of its regions."""

import hashlib
from dataclasses import dataclass

import simplejpeg
from aiokafka import ConsumerRecord

from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError, PictureError
from framematch.core.events import MatchEvent
from framematch.core.frames import parse_frame
from framematch.pictures.jpeg import read_jpeg
from framematch.pictures.regions import clipped, cut

_MAX_BYTES = 15 * 2**20  # MongoDB takes documents of 16 MiB
_QUALITY = 95  # what a second encoding at this quality changes is far below what tells products apart


@dataclass(frozen=True)
class Crop:
    """A picture as JPEG, and the SHA-256 of its bytes in hexadecimal."""

    jpeg: bytes
    image: str


def crop_of(event: MatchEvent, record: ConsumerRecord, *, max_pixels: int) -> Crop | None:
    """The region of `event` in its frame's record; None when the record is another frame's. CPU-bound.

    Raises:
        PictureError: the picture cannot be decoded, or the region lies outside of it.
    """
    try:
        frame = parse_frame(record.key, record.headers)
    except BadFrameError:
        return None
    if frame.id != event.frame.id:
        return None  # the topic was created anew
    jpeg = read_jpeg(record.value or b"", max_pixels=max_pixels)
    region = clipped(event.region, jpeg.width, jpeg.height)
    is_whole = region == (0, 0, jpeg.width, jpeg.height)
    data = jpeg.data if is_whole else _encoded(cut(jpeg.decode(), region))
    if len(data) > _MAX_BYTES:
        raise PictureError("too_large", f"has {len(data)} bytes, more than the {_MAX_BYTES} that can be stored")
    return Crop(data, hashlib.sha256(data).hexdigest())


def _encoded(pixels: Pixels) -> bytes:
    try:
        return bytes(simplejpeg.encode_jpeg(pixels.copy(), _QUALITY, colorsubsampling="444"))
    except ValueError as error:
        raise PictureError("undecodable", f"cannot be encoded again: {error}") from None
