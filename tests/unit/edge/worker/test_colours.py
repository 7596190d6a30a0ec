"""Colours come out right in every way in which video codes them, or the video is refused with a reason."""

from pathlib import Path

import av
import numpy as np
import pytest

from edge.worker.colours import set_matrix
from edge.worker.decoded import FrameConverter
from edge.worker.video import check_file
from framematch.core.errors import CameraUnavailableError
from framematch.core.settings import UntaggedColours
from tests.unit.edge.worker.video_files import QUARTERS, first_picture, quarters, write_video

BT709, UNSPECIFIED, RESERVED, BT470BG, SMPTE170M, SMPTE240M = 1, 2, 3, 5, 6, 7
YCGCO, BT2020, BT2020_CONSTANT, DERIVED, ICTCP = 8, 9, 10, 12, 14


def frame_of(pixels: str, *, size: tuple[int, int] = (64, 48), matrix: int = SMPTE170M) -> av.VideoFrame:
    """The quarters, coded with BT.601 or `matrix`."""
    rgb = av.VideoFrame.from_ndarray(quarters(*size), format="bgr24")
    return rgb.reformat(format=pixels, dst_colorspace={BT709: 1, BT2020: 9, SMPTE240M: 7}.get(matrix, 5))


def colours_of(frame: av.VideoFrame, untagged: UntaggedColours = "auto") -> np.ndarray:
    """The colours of the four quarters, [4, 3] BGR."""
    picture = FrameConverter("h264", untagged).convert(frame, None).colour(64).astype(int)
    height, width = picture.shape[:2]
    return np.array([picture[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)])


def off_by(found: np.ndarray) -> int:
    return int(np.abs(found - np.array(QUARTERS)).max())


@pytest.mark.parametrize(
    "pixels",
    ["yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuv420p10le", "yuv422p12le", "p010le", "nv12", "nv21",
     "yuyv422", "uyvy422", "gbrp", "gbrp10le", "rgb24", "bgra", "rgb565le", "yuv410p", "yuva420p"],
)  # fmt: skip
@pytest.mark.parametrize("matrix", [UNSPECIFIED, BT470BG, SMPTE170M])
def test_every_pixel_format_gives_the_colours(pixels: str, matrix: int) -> None:
    frame = frame_of(pixels)
    frame.colorspace = matrix
    assert off_by(colours_of(frame)) <= 12
    assert FrameConverter("h264").convert(frame, None).grey(32).shape == (24, 32)


@pytest.mark.parametrize("pixels", ["gbrp", "rgb24", "gray", "gray10le"])
@pytest.mark.parametrize("matrix", [0, BT709, RESERVED, YCGCO, ICTCP, 99])
def test_a_matrix_means_nothing_where_there_are_no_colour_differences(pixels: str, matrix: int) -> None:
    frame = frame_of(pixels)
    frame.colorspace = matrix
    found = colours_of(frame)
    assert off_by(found) <= 3 if "gray" not in pixels else np.ptp(found[3]) == 0


@pytest.mark.parametrize("matrix", [BT709, BT2020, SMPTE240M])
def test_a_named_matrix_is_used_whatever_the_size(matrix: int) -> None:
    for size in ((64, 48), (1920, 1080)):
        frame = frame_of("yuv444p", size=size, matrix=matrix)
        frame.colorspace = matrix
        assert off_by(colours_of(frame, "bt601")) <= 4


@pytest.mark.parametrize("named", [0, UNSPECIFIED, RESERVED, 18, 99])
@pytest.mark.parametrize(
    ("size", "matrix"),
    [
        ((640, 480), SMPTE170M),
        ((720, 576), SMPTE170M),
        ((1280, 720), BT709),
        ((720, 1280), BT709),
        ((1920, 1080), BT709),
        ((1280, 544), BT709),
    ],
)
def test_without_a_matrix_hd_is_bt709_and_all_else_bt601(named: int, size: tuple[int, int], matrix: int) -> None:
    frame = frame_of("yuv444p", size=size, matrix=matrix)
    frame.colorspace = named
    assert off_by(colours_of(frame)) <= 4


@pytest.mark.parametrize(("setting", "matrix"), [("bt601", SMPTE170M), ("bt709", BT709)])
@pytest.mark.parametrize("size", [(640, 480), (1920, 1080)])
def test_the_matrix_of_untagged_video_can_be_set(setting: UntaggedColours, matrix: int, size: tuple[int, int]) -> None:
    frame = frame_of("yuv444p", size=size, matrix=matrix)
    frame.colorspace = UNSPECIFIED
    assert off_by(colours_of(frame, setting)) <= 4


@pytest.mark.parametrize(("matrix", "primaries"), [(BT2020_CONSTANT, 2), (BT2020_CONSTANT, BT2020), (DERIVED, BT2020)])
def test_other_kinds_of_bt2020_are_read_as_bt2020(matrix: int, primaries: int) -> None:
    frame = frame_of("yuv444p", matrix=BT2020)
    frame.colorspace, frame.color_primaries = matrix, primaries
    assert off_by(colours_of(frame)) <= 4


@pytest.mark.parametrize(
    ("matrix", "name"),
    [(YCGCO, "YCgCo"), (11, "YDzDx"), (13, "luminance"), (ICTCP, "ICtCp"), (15, "IPT"), (16, "YCgCo")],
)
def test_colours_that_cannot_be_converted_are_a_reason_by_name(matrix: int, name: str) -> None:
    frame = frame_of("yuv420p")
    frame.colorspace = matrix
    with pytest.raises(CameraUnavailableError, match=rf"its colours \(.*{name}.*\) are not supported"):
        set_matrix(frame, "auto")


def test_a_file_whose_colours_cannot_be_converted_is_refused_at_the_start(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", pixels="yuv444p", options={"x264-params": "colormatrix=YCgCo:bframes=0"})
    with pytest.raises(CameraUnavailableError, match=r"its colours \(YCgCo\) are not supported"):
        check_file(path)


def test_the_whole_range_of_brightness_is_used_where_the_file_says_so(tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in (2, 128, 253)]
    for pixels, options in (("yuvj420p", {"qp": "1"}), ("yuv420p", {"qp": "1"})):
        path = write_video(tmp_path / "video.mp4", pixels=pixels, pictures=pictures, options=options)
        assert abs(int(first_picture(path).colour(64).mean()) - 2) <= 2


@pytest.mark.parametrize(
    ("codec", "container", "pixels"),
    [
        ("qtrle", "mov", "rgb24"),
        ("png", "mov", "rgb24"),
        ("ffv1", "matroska", "gbrp10le"),
        ("utvideo", "avi", "gbrp"),
        ("mjpeg", "avi", "yuvj444p"),
        ("rawvideo", "avi", "bgr24"),
        ("libx265", "mp4", "yuv420p10le"),
        ("libvpx-vp9", "matroska", "yuv420p"),
    ],
)
def test_colours_survive_codecs_and_containers(tmp_path: Path, codec: str, container: str, pixels: str) -> None:
    options = {"libx265": {"x265-params": "log-level=none"}, "libvpx-vp9": {"speed": "8"}}.get(codec, {})
    path = write_video(
        tmp_path / "video", codec=codec, container=container, pixels=pixels, options=options, pictures=[quarters()] * 3
    )
    picture = first_picture(path).colour(64).astype(int)
    found = np.array([picture[y, x] for y in (12, 36) for x in (16, 48)])
    assert off_by(found) <= 12


def test_pixels_that_cannot_be_converted_are_a_reason_by_name() -> None:
    frame = av.VideoFrame(64, 48, "gbrap32le")
    with pytest.raises(CameraUnavailableError, match=r"its pictures \(gbrap32le\) are not supported"):
        FrameConverter("exr").convert(frame, None)
