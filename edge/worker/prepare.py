"""Makes of a decoded frame what is sent: a JPEG without what masks hide, and the regions to look at."""

from dataclasses import dataclass

import cv2

from edge.cameras import Camera
from edge.worker.encode import encode_jpeg
from edge.worker.gate import Look
from edge.worker.masks import hide
from edge.worker.raw import RawFrame
from edge.worker.regions import regions_of
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
    try:
        picture = hide(raw.colour(camera.max_side), camera.masks)
        jpeg = encode_jpeg(picture, max_side=camera.max_side, quality=camera.jpeg_quality)
    except cv2.error as error:  # of a conversion in OpenCV, which has its own tree of errors
        raise ValueError("the picture cannot be converted") from error
    height, width = picture.shape[:2]
    return Prepared(jpeg, regions_of(camera.regions, look.moved, (width, height)))
