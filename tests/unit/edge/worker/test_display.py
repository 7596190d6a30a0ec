"""Pictures come out as a player shows them: upright, not mirrored, with the right shape."""

import gc
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.worker.display import display_size
from edge.worker.video import open_file
from framematch.core.arrays import Pixels
from tests.unit.edge.worker.video_files import BLUE, GREEN, GREY, RED, corners, first_picture, quarters, write_video

ONE = 0x10000
LAST = [0, 0, 0, 0, 1 << 30]
MATRICES = {
    "identity": ([ONE, 0, 0, 0, ONE], [RED, GREEN, BLUE, GREY]),
    "mirrored": ([-ONE, 0, 0, 0, ONE], [GREEN, RED, GREY, BLUE]),
    "half turn": ([-ONE, 0, 0, 0, -ONE], [GREY, BLUE, GREEN, RED]),
    "upside down": ([ONE, 0, 0, 0, -ONE], [BLUE, GREY, RED, GREEN]),
    "transposed": ([0, ONE, 0, ONE, 0], [RED, BLUE, GREEN, GREY]),
    "clockwise": ([0, ONE, 0, -ONE, 0], [BLUE, RED, GREY, GREEN]),
    "transversed": ([0, -ONE, 0, -ONE, 0], [GREY, GREEN, BLUE, RED]),
    "counterclockwise": ([0, -ONE, 0, ONE, 0], [GREEN, GREY, RED, BLUE]),
    "a little clockwise": ([63303, 16962, 0, -16962, 63303], [RED, GREEN, BLUE, GREY]),
    "all zero": ([0, 0, 0, 0, 0], [RED, GREEN, BLUE, GREY]),
    "scaled": ([2 * ONE, 0, 0, 0, -2 * ONE], [BLUE, GREY, RED, GREEN]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_picture_is_turned_and_mirrored_by_its_display_matrix(tmp_path: Path, name: str) -> None:
    matrix, expected = MATRICES[name]
    raw = first_picture(
        write_video(tmp_path / "video.mp4", prepare=lambda stream: stream.set_display_matrix([*matrix, *LAST[1:]]))
    )
    sides = (48, 64) if matrix[1] and not matrix[0] else (64, 48)
    assert raw.size == sides
    assert corners(raw.colour(640)) == expected
    assert raw.grey(32).shape == (round(32 * sides[1] / sides[0]), 32)


def test_all_eight_orientations_differ() -> None:
    assert len({tuple(expected) for _, expected in list(MATRICES.values())[:8]}) == 8


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotation_is_found_in_every_container_that_can_hold_it(tmp_path: Path, container: str, degrees: int) -> None:
    path = write_video(
        tmp_path / "video", container=container, prepare=lambda stream: stream.set_display_rotation(degrees)
    )
    expected = {90: "counterclockwise", 180: "half turn", 270: "clockwise"}[degrees]
    assert corners(first_picture(path).colour(640)) == MATRICES[expected][1]


def square_on_352x288(aspect: Fraction) -> Pixels:
    """A white square as a camera with these pixels sees it."""
    picture = np.zeros((288, 352, 3), np.uint8)
    height = 96
    width = round(height / aspect)
    picture[96:192, 20 : 20 + width] = 255
    return picture


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "libx264"), ("matroska", "libx264"), ("mpegts", "libx264"), ("avi", "mpeg4"), ("h264", "libx264"),
     ("mov", "mjpeg"), ("mp4", "libvpx-vp9")],
)  # fmt: skip
@pytest.mark.parametrize("aspect", [Fraction(16, 11), Fraction(4, 3), Fraction(1, 2)])
def test_a_square_stays_a_square(tmp_path: Path, container: str, codec: str, aspect: Fraction) -> None:
    def prepare(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = aspect

    path = write_video(
        tmp_path / "video",
        container=container,
        codec=codec,
        pictures=[square_on_352x288(aspect)] * 6,
        prepare=prepare,
        pixels="yuvj420p" if codec == "mjpeg" else "yuv420p",
        options={"speed": "8"} if codec == "libvpx-vp9" else {},
    )
    raw = first_picture(path)
    _, _, width, height = cv2.boundingRect(np.asarray(raw.colour(2_000)[:, :, 0] > 128, np.uint8))
    assert abs(width - height) <= 2
    assert raw.size == display_size(352, 288, aspect)


def test_a_turned_picture_gets_its_shape_before_it_is_turned(tmp_path: Path) -> None:
    def prepare(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        stream.set_display_rotation(90)

    raw = first_picture(write_video(tmp_path / "video.mp4", pictures=[quarters(352, 288)] * 3, prepare=prepare))
    assert raw.size == (288, 512)
    assert raw.colour(256).shape == (256, 144, 3)
    assert corners(raw.colour(256)) == MATRICES["counterclockwise"][1]


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (None, (352, 288)),
        (Fraction(1), (352, 288)),
        (Fraction(16, 11), (512, 288)),
        (Fraction(12, 11), (384, 288)),
        (Fraction(1, 2), (352, 576)),
        (Fraction(4), (1408, 288)),
        (Fraction(5), (352, 288)),
        (Fraction(1, 255), (352, 288)),
        (Fraction(0), (352, 288)),
        (Fraction(-4, 3), (352, 288)),
    ],
)
def test_the_shorter_side_grows_and_impossible_shapes_are_ignored(
    aspect: Fraction | None, size: tuple[int, int]
) -> None:
    assert display_size(352, 288, aspect) == size


def test_the_shape_may_change_within_a_stream(tmp_path: Path) -> None:
    parts = []
    for number, aspect in enumerate((Fraction(1), Fraction(16, 11))):

        def prepare(stream: av.VideoStream, aspect: Fraction = aspect) -> None:
            stream.codec_context.sample_aspect_ratio = aspect

        path = write_video(
            tmp_path / f"{number}.h264", container="h264", pictures=[quarters(352, 288)] * 3, prepare=prepare
        )
        parts.append(path.read_bytes())
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    reader = open_file(tmp_path / "both.h264")
    sizes = []
    while reader.grab() is not None:
        raw = reader.retrieve()
        assert raw is not None
        sizes.append(raw.size)
    reader.close()
    assert sizes == [(352, 288)] * 3 + [(512, 288)] * 3


def test_frames_are_freed_without_a_search_for_cycles(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", prepare=lambda stream: stream.set_display_rotation(90))
    gc.collect()
    gc.disable()
    try:
        reader = open_file(path)
        while reader.grab() is not None:
            reader.retrieve()
        frames = sum(isinstance(found, av.VideoFrame) for found in gc.get_objects())
        reader.close()
    finally:
        gc.enable()
    assert frames <= 4  # of 30
