"""Readers of files, folders and devices: frame times, ends, pictures, and damaged frames."""

import os
import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.cameras import Camera
from edge.sources import Source, image_files, parse_source
from edge.worker.readers import FolderReader, open_reader
from edge.worker.source import Reader, skips_nothing
from edge.worker.video import open_file
from framematch.core.errors import CameraUnavailableError
from tests.unit.pictures.samples import encoded, jpeg, photo


def video(path: Path, *, container: str, codec: str, frames: int = 10, fps: int = 25, gop: int = 5) -> Path:
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.gop_size = 64, 48, gop
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode(None))
    return path


def camera_of(source: Source) -> Camera:
    return Camera("till-1", source, fps=5, max_side=640, jpeg_quality=85)


def times(reader: Reader) -> list[float]:
    found = []
    while (grabbed := reader.grab()) is not None:
        assert grabbed.media_s is not None
        found.append(round(grabbed.media_s, 3))
    reader.close()
    return found


# A raw H.264 stream has no frame times: they follow from its rate.
@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "libx264"), ("avi", "mjpeg"), ("mpegts", "libx264"), ("h264", "libx264")]
)
def test_a_video_gives_the_times_of_its_frames(tmp_path: Path, container: str, codec: str) -> None:
    path = video(tmp_path / f"video.{container}", container=container, codec=codec)
    found = times(open_file(path))
    assert [round(at_s - found[0], 3) for at_s in found] == [round(number / 25, 3) for number in range(10)]


def test_the_picture_is_that_of_the_grabbed_frame(tmp_path: Path) -> None:
    reader = open_file(video(tmp_path / "video.mp4", container="mp4", codec="libx264"))
    levels, greys = [], []
    while reader.grab() is not None:
        raw = reader.retrieve()
        assert raw is not None
        assert raw.size == (64, 48)
        picture = raw.colour(640)
        assert picture.shape == (48, 64, 3)
        levels.append(round(float(picture.mean()) / 20))
        greys.append(round(float(raw.grey(640).mean()) / 20))
    reader.close()
    assert levels == greys == list(range(10))


def test_a_picture_is_scaled_to_the_requested_size(tmp_path: Path) -> None:
    reader = open_file(video(tmp_path / "video.mp4", container="mp4", codec="libx264"))
    reader.grab()
    raw = reader.retrieve()
    assert raw is not None
    assert raw.colour(32).shape == (24, 32, 3)
    assert raw.grey(16).shape == (12, 16)
    reader.close()


def test_a_picture_stays_valid_after_the_next_grab(tmp_path: Path) -> None:
    reader = open_file(video(tmp_path / "video.mp4", container="mp4", codec="libx264"))
    reader.grab()
    first = reader.retrieve()
    while reader.grab() is not None:
        pass
    reader.close()
    assert first is not None
    assert float(first.colour(640).mean()) < 10


def test_with_key_frames_only_no_other_frames_are_decoded(tmp_path: Path) -> None:
    path = video(tmp_path / "video.mp4", container="mp4", codec="libx264")
    reader = open_file(path, key_frames_only=True)
    assert times(reader) == [0.0, 0.2]


def test_damaged_packets_are_marked_and_the_rest_is_played(tmp_path: Path) -> None:
    path = video(tmp_path / "video.avi", container="avi", codec="mjpeg")
    content = bytearray(path.read_bytes())
    starts = [at for at in range(len(content)) if content[at : at + 3] == b"\xff\xd8\xff"]
    for number in (3, 6):
        content[starts[number] : starts[number + 1] - 8] = bytes(starts[number + 1] - 8 - starts[number])
    path.write_bytes(content)
    reader = open_file(path)
    damaged = []
    while (grabbed := reader.grab()) is not None:
        damaged.append(grabbed.damaged)
    reader.close()
    assert damaged.count(False) == 8
    assert damaged.count(True) == 2


def test_a_file_that_is_no_video_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video", encoding="utf-8")
    with pytest.raises(CameraUnavailableError, match="not a video that can be decoded"):
        open_file(tmp_path / "notes.mp4")


def test_a_missing_file_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(CameraUnavailableError, match="cannot be read: No such file"):
        open_file(tmp_path / "gone.mp4")


def test_a_playlist_in_a_file_cannot_read_other_files(tmp_path: Path) -> None:
    other = video(tmp_path / "other.ts", container="mpegts", codec="libx264")
    playlist = tmp_path / "playlist.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfile://{other}\n#EXT-X-ENDLIST\n")
    with pytest.raises(CameraUnavailableError, match="not a video"):
        open_file(playlist)


def test_a_folder_is_read_by_name_at_the_sampling_rate(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), 50 * number, np.uint8))
    (tmp_path / "notes.txt").touch()
    reader = FolderReader(image_files(tmp_path), fps=4)
    found = []
    while (grabbed := reader.grab()) is not None:
        raw = reader.retrieve()
        assert raw is not None
        found.append((grabbed.media_s, int(raw.colour(640)[0, 0, 0]), int(raw.grey(4)[0, 0])))
    assert found == [(0.0, 0, 0), (0.25, 50, 50), (0.5, 100, 100)]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("broken.jpg", b"\xff\xd8\xff no picture", "broken.jpg has no JPEG header"),
        ("cut.jpg", jpeg()[:-300], "cut.jpg is damaged: it ends before its end marker"),
        ("half.jpg", jpeg()[:-300] + b"\xff\xd9", "half.jpg is damaged: Corrupt JPEG data"),
        ("text.png", b"text", "text.png is not an image"),
        ("empty.webp", b"", "empty.webp is not an image"),
    ],
)
def test_an_image_that_is_not_whole_is_a_damaged_frame_and_is_named(
    tmp_path: Path, name: str, content: bytes, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    reader = FolderReader(image_files(tmp_path), fps=4)
    grabbed = reader.grab()
    assert grabbed is not None
    assert (grabbed.media_s, grabbed.damaged) == (0.0, True)
    assert (grabbed.reason or "").startswith(reason)
    assert reader.retrieve() is None
    assert capfd.readouterr() == ("", "")


def test_an_image_that_vanished_is_a_damaged_frame(tmp_path: Path) -> None:
    grabbed = FolderReader([tmp_path / "gone.jpg"], fps=4).grab()
    assert grabbed is not None
    assert (grabbed.damaged, grabbed.reason) == (True, "gone.jpg cannot be read: No such file or directory")


@pytest.mark.parametrize(
    "name", [b"\xff.jpg", b"\xe9t\xe9.png", b"a\nb.jpg", b"\xf0\x9f\x8d\x93.jpg", b"\x80" * 60 + b".tiff"]
)
def test_any_bytes_can_be_the_name_of_an_image(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "other.jpg").write_bytes(jpeg())
    (tmp_path / os.fsdecode(name)).write_bytes(jpeg())
    reader = FolderReader(image_files(tmp_path), fps=4)
    found = []
    while (grabbed := reader.grab()) is not None:
        found.append((grabbed.damaged, reader.retrieve() is not None))
    assert found == [(False, True)] * 2


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "._1.jpg").write_bytes(b"another system's")
    (tmp_path / "1.jpg").write_bytes(jpeg())
    assert [path.name for path in image_files(tmp_path)] == ["1.jpg"]


def test_an_image_with_more_pixels_than_can_be_decoded_is_a_damaged_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "vast.png"), np.zeros((8, 8, 3), np.uint8))
    content = bytearray((tmp_path / "vast.png").read_bytes())
    content[16:24] = struct.pack(">II", 200_000, 200_000)  # its header's width and height
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "vast.png").write_bytes(content)
    grabbed = FolderReader(image_files(tmp_path), fps=4).grab()
    assert grabbed is not None
    assert grabbed.damaged


def test_a_missing_folder_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(CameraUnavailableError, match="cannot be read: No such file"):
        open_reader(
            camera_of(Source("folder", str(tmp_path / "gone"))), skips_nothing, open_timeout_s=1, read_timeout_s=1
        )


def test_a_missing_device_does_not_open() -> None:
    with pytest.raises(CameraUnavailableError, match="cannot be opened"):
        open_reader(camera_of(parse_source("9999")), skips_nothing, open_timeout_s=1, read_timeout_s=1)


class ScriptedCapture:
    """A V4L2 device that sends these bytes, or pixels if `code` is no JPEG's."""

    def __init__(self, code: str, frames: list[bytes], *, converts_always: bool = False) -> None:
        self._code = code
        self._frames = frames
        self._converts_always = converts_always
        self._converts = True

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return True

    def get(self, _property: int) -> float:
        return float(cv2.VideoWriter.fourcc(*self._code))

    def set(self, _property: int, value: float) -> bool:
        self._converts = self._converts_always or bool(value)
        return not self._converts_always

    def grab(self) -> bool:
        return bool(self._frames)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        data = np.frombuffer(self._frames.pop(0), np.uint8)
        if not self._converts:
            return True, data[None]
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return picture is not None, np.zeros((1, 1, 3), np.uint8) if picture is None else np.asarray(picture)

    def release(self) -> None:
        pass


def pictures_of(capture: ScriptedCapture, monkeypatch: pytest.MonkeyPatch, frames: int) -> list[int | None]:
    """The mean level of each frame's picture, None where there is none."""
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    reader = open_reader(camera_of(parse_source("0")), skips_nothing, open_timeout_s=1, read_timeout_s=1)
    found = []
    for _ in range(frames):
        assert reader.grab() is not None
        raw = reader.retrieve()
        found.append(None if raw is None else round(float(raw.colour(640).mean())))
    reader.close()
    return found


@pytest.mark.parametrize("code", ["MJPG", "JPEG"])
def test_a_damaged_jpeg_of_a_device_is_a_damaged_frame_and_nothing_is_printed(
    code: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, mean = jpeg(), round(float(photo().mean()))
    frames = [whole, whole[:-400], whole[:-400] + b"\xff\xd9", whole[:-400] + bytes(900), whole + bytes(900), b""]
    capture = ScriptedCapture(code, [*frames, whole])
    assert pictures_of(capture, monkeypatch, 7) == [mean, None, None, None, mean, None, mean]
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_of_a_device_has_its_colours_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = ScriptedCapture("MJPG", [jpeg(np.full((16, 16, 3), (250, 0, 0), np.uint8))])
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    reader = open_reader(camera_of(parse_source("0")), skips_nothing, open_timeout_s=1, read_timeout_s=1)
    reader.grab()
    raw = reader.retrieve()
    assert raw is not None
    blue, green, red = raw.colour(640)[8, 8]
    assert (blue < 5, green < 5, red > 245) == (True, True, True)


@pytest.mark.parametrize(("code", "converts_always"), [("YUYV", False), ("MJPG", True)])
def test_other_formats_of_a_device_are_converted_by_opencv(
    code: str, converts_always: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [encoded(photo(), "PNG")]
    capture = ScriptedCapture(code, frames, converts_always=converts_always)
    assert pictures_of(capture, monkeypatch, 1) == [round(float(photo().mean()))]
