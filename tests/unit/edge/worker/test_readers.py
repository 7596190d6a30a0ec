"""Readers of files and folders: frame times, ends and pictures."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.sources import image_files, parse_source
from edge.worker.readers import FileReader, FolderReader, Reader, open_reader
from framematch.core.errors import CameraUnavailableError


def video(path: Path, *, container: str, codec: str, frames: int = 10, fps: int = 25) -> Path:
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode(None))
    return path


def times(reader: Reader) -> list[float]:
    found = []
    while (at_s := reader.grab()) is not None:
        found.append(round(at_s, 3))
    reader.close()
    return found


# A raw H.264 stream has no frame times: they follow from its rate.
@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "libx264"), ("avi", "mjpeg"), ("mpegts", "libx264"), ("h264", "libx264")]
)
def test_a_video_gives_the_times_of_its_frames(tmp_path: Path, container: str, codec: str) -> None:
    path = video(tmp_path / f"video.{container}", container=container, codec=codec)
    assert times(FileReader(path)) == [round(number / 25, 3) for number in range(10)]


def test_a_video_gives_the_pixels_of_the_grabbed_frame(tmp_path: Path) -> None:
    reader = FileReader(video(tmp_path / "video.mp4", container="mp4", codec="libx264"))
    levels = []
    while reader.grab() is not None:
        picture = reader.retrieve()
        assert picture is not None
        assert picture.shape == (48, 64, 3)
        levels.append(round(float(picture.mean()) / 20))
    reader.close()
    assert levels == list(range(10))


def test_what_is_no_video_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video", encoding="utf-8")
    with pytest.raises(CameraUnavailableError, match="not a video that can be decoded"):
        FileReader(tmp_path / "notes.mp4")


def test_a_file_that_is_gone_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(CameraUnavailableError, match="cannot be read: No such file"):
        FileReader(tmp_path / "gone.mp4")


def test_a_folder_gives_its_images_by_name_at_the_sampling_rate(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), 50 * number, np.uint8))
    (tmp_path / "notes.txt").touch()
    reader = FolderReader(image_files(tmp_path), fps=4)
    found = []
    while (at_s := reader.grab()) is not None:
        picture = reader.retrieve()
        assert picture is not None
        found.append((at_s, int(picture[0, 0, 0])))
    assert found == [(0.0, 0), (0.25, 50), (0.5, 100)]


def test_an_image_that_cannot_be_decoded_gives_no_pixels(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    reader = FolderReader(image_files(tmp_path), fps=4)
    assert reader.grab() == 0.0
    assert reader.retrieve() is None


def test_a_device_that_is_not_there_does_not_open() -> None:
    with pytest.raises(CameraUnavailableError, match="cannot be opened"):
        open_reader(parse_source("9999"), fps=5, open_timeout_s=1, read_timeout_s=1)
