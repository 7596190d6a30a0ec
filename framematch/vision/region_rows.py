"""Decodes JPEGs and crops regions of them for the model, row by row: a bad row has its reason, the others their pixels.

Triton's python backend runs this module too, from the copy that `framematch model build` puts beside the model (its
list of modules is `model_build/repository/targets/jpeg.py`). So both sides give equal pixels.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import msgspec
import numpy as np

from framematch.core.arrays import Pixels
from framematch.core.errors import ModelError, PictureError
from framematch.core.frames import Region
from framematch.pictures.jpeg import Jpeg, read_jpeg
from framematch.pictures.regions import clipped, cut
from framematch.vision.content import content_of
from framematch.vision.preprocess import Preprocessor, Variant
from framematch.vision.quality import quality_of

REDUCTIONS = (1, 2, 4, 8)
"""What a row's `reduction` may be."""


CLIENT_DECODER = "libjpeg-turbo"
"""The decoder of clients, and of a model that runs their code."""
DecodeAll: TypeAlias = Callable[[Sequence[tuple[Jpeg, int]]], Iterator[Pixels | PictureError]]
"""Decodes pictures at their reductions: yields the pixels of each, as `Jpeg.decode`, or what is wrong with it."""


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

    `decoder` names the program and its version; `variant` and `preprocessing`, a `Preprocessor.digest`, are what
    follows it. A picture of more than `max_pixels` is refused undecoded.
    """

    decoder: str
    variant: Variant
    preprocessing: str
    max_pixels: int

    @property
    def is_exact(self) -> bool:
        """Whether the pixels are those that clients get; otherwise `framematch model check` says how close they are."""
        return self.decoder == CLIENT_DECODER

    @property
    def digest(self) -> str:
        """Equal digests mean equal pixels: that of the preprocessing, or another one for another decoder."""
        if self.is_exact:
            return self.preprocessing
        return hashlib.sha256(msgspec.json.encode([self.decoder, self.preprocessing])).hexdigest()

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


def decode_each(pictures: Sequence[tuple[Jpeg, int]]) -> Iterator[Pixels | PictureError]:
    """As clients decode. Of the pictures one at a time is in memory."""
    for jpeg, reduction in pictures:
        try:
            yield jpeg.decode(reduction)
        except PictureError as error:
            yield error


def crop_rows(
    rows: Sequence[RegionRow], preprocessor: Preprocessor, *, max_pixels: int, decode: DecodeAll = decode_each
) -> list[CroppedRow]:
    """Decode, crop, scale and measure each row. Rows of one picture share its pixels. CPU-bound."""
    groups = [list(group) for _, group in groupby(rows, lambda row: (id(row.jpeg), row.reduction))]
    headers = [_header(group[0].jpeg, max_pixels) for group in groups]
    readable = [
        (jpeg, group[0].reduction) for jpeg, group in zip(headers, groups, strict=True) if isinstance(jpeg, Jpeg)
    ]
    decoded, found = decode(readable), list[CroppedRow]()
    for jpeg, group in zip(headers, groups, strict=True):
        if isinstance(jpeg, PictureError):
            found += [_refused(jpeg, preprocessor)] * len(group)
        else:
            pixels = next(decoded)
            found += [_cropped(pixels, jpeg, row, preprocessor) for row in group]
    return found


def _header(data: bytes, max_pixels: int) -> Jpeg | PictureError:
    try:
        return read_jpeg(data, max_pixels=max_pixels)
    except PictureError as error:
        return error


def _cropped(pixels: Pixels | PictureError, jpeg: Jpeg, row: RegionRow, preprocessor: Preprocessor) -> CroppedRow:
    if isinstance(pixels, PictureError):
        return _refused(pixels, preprocessor)
    try:
        box = clipped(row.box, jpeg.width, jpeg.height)
    except PictureError as error:
        return _refused(error, preprocessor)
    crop = preprocessor(cut(pixels, box, row.reduction))
    return CroppedRow(crop, content_of(crop), quality_of(crop, min(box[2:])).value)


def _refused(error: PictureError, preprocessor: Preprocessor) -> CroppedRow:
    spec = preprocessor.spec
    blank = np.zeros((spec.crop_height, spec.crop_width, 3), np.uint8)
    return CroppedRow(blank, 0.0, 0.0, f"{error.reason}: {error.message}")
