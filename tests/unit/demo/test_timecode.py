"""A timecode can be read after encoding and resizing, or reads as nothing."""

import io

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo import timecode
from demo.timecode import CAMERAS, FRAMES, Picture

CAMERA = st.integers(0, CAMERAS - 1)
INDEX = st.integers(0, FRAMES - 1)
SCALE = st.sampled_from([0.5, 0.6, 2 / 3, 0.75, 0.9, 1.0])


def noisy_picture(seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (360, 640, 3), np.uint8)


def through_jpeg(picture: Picture, scale: float) -> Picture:
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def through_x264(pictures: list[Picture], bit_rate: int) -> list[Picture]:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=15, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 360, "yuv420p", bit_rate
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as source:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in source.decode(video=0)]


@given(CAMERA, INDEX, SCALE, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_timecode_is_read_after_resizing_and_jpeg(camera: int, index: int, scale: float, seed: int) -> None:
    picture = noisy_picture(seed)
    timecode.write(picture, camera, index)
    assert timecode.read(through_jpeg(picture, scale)) == (camera, index)


@given(CAMERA, st.integers(0, FRAMES - 5), SCALE)
@settings(max_examples=10, deadline=None)
def test_a_timecode_is_read_after_x264_at_a_low_bit_rate_resizing_and_jpeg(
    camera: int, start: int, scale: float
) -> None:
    # Smooth moving content, as from a camera; noise over the whole picture cannot be encoded at 150 kbit/s.
    base = np.asarray(cv2.GaussianBlur(noisy_picture(start), (0, 0), 12), np.uint8)
    pictures = [np.ascontiguousarray(np.roll(base, 8 * number, axis=1)) for number in range(5)]
    for number, picture in enumerate(pictures):
        timecode.write(picture, camera, start + number)
    decoded = through_x264(pictures, bit_rate=150_000)
    read = [timecode.read(through_jpeg(picture, scale)) for picture in decoded]
    assert read == [(camera, start + number) for number in range(5)]


@given(CAMERA, INDEX, st.sets(st.integers(0, 47), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_up_to_three_wrong_cells_never_read_as_another_number(camera: int, index: int, cells: set[int]) -> None:
    picture = noisy_picture(0)
    timecode.write(picture, camera, index)
    for cell in cells:
        row, column = divmod(cell, 8)
        block = picture[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        block[:] = 251 - block  # swaps 16 and 235
    assert timecode.read(picture) is None


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_noise_reads_as_nothing(seed: int) -> None:
    assert timecode.read(noisy_picture(seed)) is None


@given(CAMERA, INDEX, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_two_frames_blended_into_one_read_as_nothing(camera: int, index: int, step: int) -> None:
    first, second = noisy_picture(1), noisy_picture(1)
    timecode.write(first, camera, index)
    timecode.write(second, camera, (index + step) % FRAMES)
    assert timecode.read(np.asarray(cv2.addWeighted(first, 0.5, second, 0.5, 0), np.uint8)) is None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_reads_as_nothing(level: int) -> None:
    assert timecode.read(np.full((360, 640, 3), level, np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 640, 3), (8, 8)])
def test_a_picture_that_is_too_small_reads_as_nothing(shape: tuple[int, ...]) -> None:
    assert timecode.read(np.zeros(shape, np.uint8)) is None


def test_a_grey_picture_can_have_a_timecode() -> None:
    picture = noisy_picture(3)[..., 0].copy()
    timecode.write(picture, 7, 77)
    assert timecode.read(picture) == (7, 77)


def test_the_centre_square_is_not_changed() -> None:
    picture = noisy_picture(4)
    before = picture.copy()
    timecode.write(picture, CAMERAS - 1, FRAMES - 1)
    assert np.array_equal(picture[:, 140:500], before[:, 140:500])


@pytest.mark.parametrize(("camera", "index"), [(-1, 0), (CAMERAS, 0), (0, -1), (0, FRAMES)])
def test_a_number_that_does_not_fit_is_refused(camera: int, index: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        timecode.write(noisy_picture(5), camera, index)
