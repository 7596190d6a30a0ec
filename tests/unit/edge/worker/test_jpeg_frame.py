"""JPEGs of cameras: what libav and OpenCV would fill with grey is no picture."""

import numpy as np
import pytest

from edge.worker.jpeg_frame import decode_jpeg, is_whole
from tests.unit.pictures.samples import jpeg, photo, scan_start, without_segments

WHOLE = jpeg()
HALF = (scan_start(WHOLE) + len(WHOLE)) // 2


@pytest.mark.parametrize(
    "data", [WHOLE, WHOLE + bytes(9_000), WHOLE[:-2], WHOLE[:-2] + bytes(9_000), without_segments(WHOLE, 0xC4)]
)
def test_a_whole_jpeg_is_a_frame_in_the_order_of_opencv(data: bytes) -> None:
    frame = decode_jpeg(data)
    assert is_whole(data)
    assert frame is not None
    assert frame.size == (96, 64)
    assert float(np.abs(frame.colour(96)[..., ::-1].astype(int) - photo()).mean()) < 6


@pytest.mark.parametrize(
    "data", [WHOLE[:HALF], WHOLE[:HALF] + b"\xff\xd9", WHOLE[:HALF] + bytes(9_000), b"", b"no picture"]
)
def test_a_damaged_jpeg_is_none(data: bytes) -> None:
    assert decode_jpeg(data) is None
    assert not is_whole(data)
