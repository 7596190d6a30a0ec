"""Pictures are scaled down and encoded."""

import cv2
import numpy as np
import pytest

from edge.worker.encode import encode_jpeg, scale_down
from framematch.core.arrays import Pixels


def picture(width: int, height: int) -> Pixels:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (height, width, 3)))


def decoded(jpeg: bytes) -> Pixels:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (640, 360)),
        ((1080, 1920), (360, 640)),
        ((640, 640), (640, 640)),
        ((320, 200), (320, 200)),
        ((9000, 2), (640, 1)),
    ],
)
def test_the_longer_side_is_scaled_to_max_side(size: tuple[int, int], expected: tuple[int, int]) -> None:
    found = decoded(encode_jpeg(scale_down(picture(*size), 640), quality=85))
    assert (found.shape[1], found.shape[0]) == expected


def test_encoding_hardly_changes_the_picture() -> None:
    original = picture(320, 200)
    difference = decoded(encode_jpeg(original, quality=95)).astype(int) - original
    assert np.abs(difference).mean() < 2


def test_lower_quality_gives_fewer_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 320, 3), dtype=np.uint8)
    assert len(encode_jpeg(noise, quality=30)) < len(encode_jpeg(noise, quality=90)) / 2


def test_fine_stripes_are_averaged_not_aliased() -> None:
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::2] = 255
    small = decoded(encode_jpeg(scale_down(stripes, 50), quality=95))
    assert abs(float(small.mean()) - 127.5) < 3
    assert float(small.std()) < 5


def test_a_small_picture_is_not_copied() -> None:
    small = picture(320, 200)
    assert scale_down(small, 320) is small


@pytest.mark.parametrize("size", [(0, 0), (0, 40), (70_000, 1)])
def test_what_no_jpeg_can_hold_is_a_value_error(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be encoded"):
        encode_jpeg(picture(*size), quality=85)
