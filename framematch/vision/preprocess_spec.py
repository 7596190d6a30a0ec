"""How a picture becomes the image tower's input, as a model's configuration states it."""

from dataclasses import dataclass
from typing import Literal

Resample = Literal["bilinear", "bicubic"]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class PreprocessSpec:
    """Resizing, cropping and normalising of an RGB picture.

    The shortest edge is resized to `resize_shortest_edge` pixels, and the centre is cropped to `crop_height` x
    `crop_width`. When `resize_shortest_edge` is None, the whole picture is resized to the crop's size and its
    proportions are lost, as SigLIP does. Then, for each channel: (value * rescale_factor - mean) / std.
    """

    resize_shortest_edge: int | None
    crop_height: int
    crop_width: int
    resample: Resample
    rescale_factor: float
    mean: Rgb
    std: Rgb
