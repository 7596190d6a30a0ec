"""Turns a captured frame into what is sent: a JPEG in which masks are hidden, and the regions to match."""

from dataclasses import dataclass

import cv2

from edge.cameras import Camera
from edge.worker.encode import encode_jpeg
from edge.worker.gate import GateDecision
from edge.worker.masks import hide
from edge.worker.regions import regions_of
from edge.worker.source import RawFrame
from framematch.core.frames import Region


@dataclass(frozen=True)
class Prepared:
    """A frame's JPEG and its regions, boxes in pixels of the JPEG; empty means the whole frame."""

    jpeg: bytes
    regions: tuple[Region, ...]


def prepare(raw: RawFrame, decision: GateDecision, camera: Camera) -> Prepared:
    """Convert, scale and encode `raw` by the settings of `camera`.

    Raises:
        ValueError: it cannot be converted or encoded.
    """
    try:
        picture = hide(raw.colour(camera.max_side), camera.masks)
        jpeg = encode_jpeg(picture, quality=camera.jpeg_quality)
    except cv2.error as error:  # OpenCV's conversions raise it; it is no ValueError
        raise ValueError("the picture cannot be converted") from error
    height, width = picture.shape[:2]
    return Prepared(jpeg, regions_of(camera.regions, decision.moved, (width, height)))
