"""Decodes JPEGs and crops regions of them for the model, row by row: a bad row has its reason, the others their pixels.

Triton's python backend runs this module too, from the copy that `framematch model build` puts beside the model (its
list of modules is `model_build/repository/targets/jpeg.py`). So both sides give equal pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from framematch.core.arrays import Pixels
from framematch.core.errors import ModelError, PictureError
from framematch.core.frames import Region
from framematch.pictures.jpeg import read_jpeg
from framematch.pictures.regions import clipped, cut
from framematch.vision.content import content_of
from framematch.vision.preprocess import Preprocessor, Variant
from framematch.vision.quality import quality_of

REDUCTIONS = (1, 2, 4, 8)
"""What a row's `reduction` may be."""


@dataclass(frozen=True, eq=False)
class RegionRow:
    """A region of a JPEG: its box in pixels, and the reduction at which the picture is decoded.

    `reduction` is what `reduction_for` gives for all regions of the frame, whichever of them are in one batch. Rows of
    one picture share one `jpeg`, and stand one after the other; then it is decoded once.
    """

    jpeg: bytes
    box: Region
    reduction: int


@dataclass(frozen=True, eq=False)
class CroppedRow:
    """A row's pixels as the model takes them, uint8 [H, W, 3], and what was measured of them.

    `problem` is set when there are none: a reason of `PictureError`, a colon and its message. The pixels are 0 then.
    """

    pixels: Pixels
    content: float
    quality: float
    problem: str = ""


@dataclass(frozen=True)
class JpegManifest:
    """How a served model makes pixels of JPEGs; it is part of Triton's model configuration.

    `decoder` names the program; `digest` is that of the preprocessing, as `Preprocessor.digest`: equal digests mean
    equal pixels. A picture of more than `max_pixels` is refused undecoded.
    """

    decoder: str
    variant: Variant
    digest: str
    max_pixels: int

    def to_json(self) -> str:
        """One line of JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "JpegManifest":
        """Parse `text`.

        Raises:
            ModelError: it is of another version of framematch, or damaged.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ModelError(
                f"the description of the model that decodes JPEGs is not readable: {error}",
                hint="Build the model again with `framematch model build --jpeg` of this version",
            ) from error


def reduction_for(preprocessor: Preprocessor, regions: Sequence[Region]) -> int:
    """The reduction at which a picture is decoded for these regions, at least one: the least of all of them."""
    return min(preprocessor.reduction(height, width) for _, _, width, height in regions)


def crop_rows(rows: Sequence[RegionRow], preprocessor: Preprocessor, *, max_pixels: int) -> list[CroppedRow]:
    """Decode, crop, scale and measure each row. Of the pictures one at a time is in memory. CPU-bound."""
    spec = preprocessor.spec
    blank = np.zeros((spec.crop_height, spec.crop_width, 3), np.uint8)
    picture, found = _Picture(b"", 1), []
    for row in rows:
        if row.jpeg is not picture.jpeg or row.reduction != picture.reduction:
            picture = _Picture(row.jpeg, row.reduction)
        try:
            found.append(_cropped(picture, row, preprocessor, max_pixels))
        except PictureError as error:
            found.append(CroppedRow(blank, 0.0, 0.0, f"{error.reason}: {error.message}"))
    return found


def _cropped(picture: "_Picture", row: RegionRow, preprocessor: Preprocessor, max_pixels: int) -> CroppedRow:
    pixels = picture.decoded(max_pixels)
    box = clipped(row.box, picture.width, picture.height)
    crop = preprocessor(cut(pixels, box, row.reduction))
    return CroppedRow(crop, content_of(crop), quality_of(crop, min(box[2:])).value)


class _Picture:
    """A JPEG that is decoded at its first row; its other rows get the same pixels, or the same error."""

    def __init__(self, jpeg: bytes, reduction: int) -> None:
        self.jpeg, self.reduction = jpeg, reduction
        self.width = self.height = 0
        self._pixels: Pixels | None = None
        self._error: PictureError | None = None

    def decoded(self, max_pixels: int) -> Pixels:
        """RGB; PictureError if it is no picture, or too large."""
        if self._error is not None:
            raise self._error
        if self._pixels is None:
            try:
                jpeg = read_jpeg(self.jpeg, max_pixels=max_pixels)
                self._pixels = jpeg.decode(self.reduction)
            except PictureError as error:
                self._error = error
                raise
            self.width, self.height = jpeg.width, jpeg.height
        return self._pixels
