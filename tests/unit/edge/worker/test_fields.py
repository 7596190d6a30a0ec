"""Interlaced video is shown without the comb of its two fields, and progressive video as it is."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edge.worker.video import open_file
from framematch.core.arrays import Pixels
from tests.unit.edge.worker.video_files import first_picture, write_video

INTERLACED = 1 << 18 | 1 << 29  # FFmpeg's flags of encoders: interlaced DCT and motion estimation


def combed(width: int, height: int) -> Pixels:
    """A bar that has moved by its own width between the first and the second field."""
    picture = np.full((height, width, 3), 20, np.uint8)
    bar = width // 4
    picture[0::2, bar : 2 * bar] = 230
    picture[1::2, 2 * bar : 3 * bar] = 230
    return picture


def interlaced(stream: av.VideoStream) -> None:
    stream.codec_context.flags |= INTERLACED
    stream.codec_context.field_order = 2


def progressive(stream: av.VideoStream) -> None:
    """Or interlaced by the encoder's own options."""


@pytest.mark.parametrize(
    ("codec", "container", "pixels", "options"),
    [
        ("libx264", "mp4", "yuv420p", {"x264-params": "tff=1:bframes=0"}),
        ("libx264", "mpegts", "yuv420p", {"x264-params": "bff=1:bframes=0"}),
        ("libx264", "matroska", "yuv422p10le", {"x264-params": "tff=1:bframes=0"}),
        ("mpeg2video", "mpegts", "yuv420p", {}),
        ("mpeg4", "avi", "yuv420p", {}),
        ("prores_ks", "mov", "yuv422p10le", {}),
        ("dvvideo", "avi", "yuv420p", {}),
    ],
)
def test_an_interlaced_picture_has_no_comb(
    tmp_path: Path, codec: str, container: str, pixels: str, options: dict[str, str]
) -> None:
    path = write_video(
        tmp_path / "video",
        codec=codec,
        container=container,
        pixels=pixels,
        options=options,
        prepare=progressive if codec in ("libx264", "dvvideo") else interlaced,
        pictures=[combed(720, 576)] * 4,
    )
    raw = first_picture(path)
    width, height = raw.size
    assert height == 576
    picture = raw.colour(2_000)
    assert picture.shape == (height, width, 3)
    row = picture[height // 2 : height // 2 + 8, :, 0].astype(int)
    assert np.abs(np.diff(row, axis=0)).max() < 40  # a comb would be 200
    assert np.count_nonzero(row[0] > 128) == pytest.approx(width / 4, abs=8)  # one bar, as wide as it is
    grey = raw.grey(160)
    assert grey.shape == (round(160 * height / width), 160)


def test_a_progressive_picture_keeps_every_line(tmp_path: Path) -> None:
    raw = first_picture(write_video(tmp_path / "video.mp4", pictures=[combed(320, 240)] * 3, options={"crf": "1"}))
    column = raw.colour(320)[100:108, 120, 0].astype(int)
    assert np.abs(np.diff(column)).min() > 150


def test_a_field_is_shown_in_the_shape_of_the_frame(tmp_path: Path) -> None:
    def prepare(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        stream.set_display_rotation(90)

    path = write_video(
        tmp_path / "video.mp4",
        pictures=[combed(704, 576)] * 3,
        options={"x264-params": "tff=1:bframes=0"},
        prepare=prepare,
    )
    raw = first_picture(path)
    assert raw.size == (576, 1024)
    assert raw.colour(640).shape == (640, 360, 3)


def test_fields_that_are_frames_of_their_own_get_twice_their_height(tmp_path: Path) -> None:
    field = combed(640, 180)[0::2].repeat(2, axis=0)
    path = write_video(
        tmp_path / "video.mp4",
        codec="libx265",
        pictures=[field] * 4,
        options={"x265-params": "interlace=tff:bframes=0:log-level=none"},
    )
    raw = first_picture(path)
    assert raw.size == (640, 360)
    assert raw.colour(640).shape == (360, 640, 3)


def test_the_size_of_an_interlaced_stream_may_change(tmp_path: Path) -> None:
    parts = [
        write_video(
            tmp_path / f"{width}.h264",
            container="h264",
            pictures=[combed(width, 240)] * 2,
            options={"x264-params": "tff=1:bframes=0"},
        ).read_bytes()
        for width in (320, 160)
    ]
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    reader = open_file(tmp_path / "both.h264")
    shapes = []
    while reader.grab() is not None:
        raw = reader.retrieve()
        assert raw is not None
        shapes.append(raw.colour(640).shape[:2])
    reader.close()
    assert shapes == [(240, 320), (240, 320), (240, 160), (240, 160)]
