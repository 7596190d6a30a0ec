"""A picture is the same by every route: as a product photo, and as a frame of a folder that a consumer decodes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from consumers.stages.decode import read_jpeg
from edge.sources import image_files
from edge.worker.encode import encode_jpeg
from edge.worker.readers import FolderReader
from framematch.catalog.images import decode_rgb
from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError, CatalogError
from tests.unit.pictures.samples import (
    DISPLAY_P3,
    END_OF_IMAGE,
    encoded,
    jpeg,
    quarters,
    scan_start,
    with_orientation,
)

CHECKED = quarters(96, 64)
GREY_16 = Image.fromarray(CHECKED[..., 0].astype(np.uint16) * 128)


def by_the_edge_and_a_consumer(folder: Path, data: bytes, ending: str) -> Pixels | None:
    """None if the edge leaves it out."""
    name = os.fsencode(folder) + b"/picture \xff\xe9" + ending.encode()  # no text in any encoding
    Path(os.fsdecode(name)).write_bytes(data)
    reader = FolderReader(image_files(folder), fps=4)
    grabbed, raw = reader.grab(), reader.retrieve()
    assert grabbed is not None
    if raw is None:
        assert grabbed.damaged
        return None
    frame = encode_jpeg(raw.colour(1_000), quality=95)
    return read_jpeg(frame, max_pixels=100_000).decode()


WHOLE = {
    "a JPEG": (jpeg(CHECKED), ".jpg"),
    "a mirrored and rotated JPEG": (with_orientation(CHECKED, 7, "JPEG", quality=95), ".jpeg"),
    "a rotated TIFF": (with_orientation(CHECKED, 6, "TIFF"), ".tif"),
    "a rotated PNG": (with_orientation(CHECKED, 8, "PNG"), ".png"),
    "a WebP": (encoded(CHECKED, "WEBP"), ".webp"),
    "an AVIF": (encoded(CHECKED, "AVIF"), ".avif"),
    "a GIF": (encoded(CHECKED, "GIF"), ".gif"),
    "a PNG with alpha": (encoded(np.dstack([CHECKED, 255 - CHECKED[..., 0]]), "PNG"), ".png"),
    "a grey PNG of 16 bits": (encoded(GREY_16, "PNG"), ".PNG"),
    "a CMYK JPEG": (encoded(CHECKED, "JPEG", "CMYK", quality=95), ".jpg"),
    "a JPEG with a wide profile": (jpeg(CHECKED // 2 + 60, icc_profile=DISPLAY_P3), ".jpg"),
    "a JPEG in a zeroed buffer": (jpeg(CHECKED) + bytes(500), ".jpg"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_frame_of_a_folder_and_a_product_photo_have_the_same_pixels(kind: str, tmp_path: Path) -> None:
    data, ending = WHOLE[kind]
    photo = decode_rgb(data)
    frame = by_the_edge_and_a_consumer(tmp_path, data, ending)
    assert frame is not None
    assert frame.shape == photo.shape == (64, 96, 3)
    assert float(np.abs(frame.astype(int) - photo).mean()) < 4
    assert float(photo.std()) > 20


HALF = (scan_start(jpeg()) + len(jpeg())) // 2


@pytest.mark.parametrize("data", [jpeg()[:HALF], jpeg()[:HALF] + END_OF_IMAGE, jpeg()[:-2], jpeg()[:20], b""])
def test_a_damaged_picture_is_refused_on_every_route(data: bytes, tmp_path: Path) -> None:
    assert by_the_edge_and_a_consumer(tmp_path, data, ".jpg") is None
    with pytest.raises(CatalogError):
        decode_rgb(data)
    with pytest.raises(BadFrameError):
        read_jpeg(data, max_pixels=100_000).decode()
