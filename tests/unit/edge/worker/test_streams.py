"""The video of a container is chosen as players do, and what cannot be decoded is refused in one line."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from edge.cameras import Camera
from edge.sources import parse_source
from edge.worker.readers import check_files
from edge.worker.video import check_file, open_file
from framematch.core.errors import CameraUnavailableError, UsageError
from tests.unit.edge.worker.video_files import first_picture, write_video

COVER = Disposition.attached_pic


def write_streams(
    path: Path, sizes: list[tuple[int, int, Disposition]], *, container: str = "mp4", frames: int = 10
) -> Path:
    """A file with one H.264 stream for each width, height and disposition; a cover is a single MJPEG picture."""
    with av.open(str(path), "w", format=container) as output:
        streams = []
        for width, height, disposition in sizes:
            is_cover = bool(disposition & COVER)
            stream = output.add_stream("mjpeg" if is_cover else "libx264", rate=25)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if is_cover else "yuv420p"
            stream.disposition = disposition
            streams.append(stream)
        for number in range(frames):
            for stream, (width, height, disposition) in zip(streams, sizes, strict=True):
                if number and disposition & COVER:
                    continue
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 99, np.uint8), format="bgr24")
                frame = frame.reformat(format=stream.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


NONE, DEFAULT = Disposition(0), Disposition.default


@pytest.mark.parametrize(
    ("container", "streams", "chosen"),
    [
        ("mp4", [(640, 480, COVER), (64, 48, DEFAULT)], (64, 48)),
        ("mp4", [(640, 480, COVER | DEFAULT), (64, 48, NONE)], (64, 48)),
        ("mp4", [(64, 48, DEFAULT), (640, 480, COVER)], (64, 48)),
        ("matroska", [(64, 48, NONE), (128, 96, NONE)], (128, 96)),
        ("matroska", [(64, 48, DEFAULT), (128, 96, NONE)], (64, 48)),
        ("mpegts", [(64, 48, NONE), (128, 96, NONE), (32, 32, NONE)], (128, 96)),
        ("mpegts", [(64, 48, NONE)], (64, 48)),
    ],
)
def test_the_stream_is_the_one_that_a_player_shows(
    tmp_path: Path, container: str, streams: list[tuple[int, int, Disposition]], chosen: tuple[int, int]
) -> None:
    path = write_streams(tmp_path / "video", streams, container=container)
    assert first_picture(path).size == chosen
    check_file(path)


def test_all_frames_of_the_chosen_stream_are_read(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "video.mp4", [(640, 480, COVER), (64, 48, DEFAULT)])
    reader = open_file(path)
    frames = 0
    while reader.grab() is not None:
        frames += 1
    reader.close()
    assert frames == 10


def audio_with_cover(path: Path) -> Path:
    with av.open(str(path), "w", format="mp3") as output:
        audio = output.add_stream("libmp3lame", rate=44_100)
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", COVER
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="bgr24")
        output.mux(cover.encode(picture.reformat(format="yuvj420p")))
        output.mux(cover.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 44_100), np.int16), format="s16", layout="stereo")
        sound.rate = 44_100
        output.mux(audio.encode(sound))
        output.mux(audio.encode(None))
    return path


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w", format="mp4") as output:
        audio = output.add_stream("aac", rate=44_100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 4_410), np.float32), format="fltp", layout="stereo")
        sound.rate = 44_100
        output.mux(audio.encode(sound))
        output.mux(audio.encode(None))
    return path


def replaced(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


def unknown_in_mp4(path: Path) -> Path:
    return replaced(write_video(path, container="mp4"), b"avc1", b"XYZW")


def unknown_in_avi(path: Path) -> Path:
    return replaced(write_video(path, container="avi", codec="mpeg4"), b"FMP4", b"ABCD")


def unknown_in_matroska(path: Path) -> Path:
    return replaced(write_video(path, container="matroska"), b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ")


def another_codec(path: Path) -> Path:
    """H.264 that says it is H.266, as an example of data that its decoder refuses, packet by packet."""
    return replaced(write_video(path, container="mp4"), b"avc1", b"vvc1")


def encrypted(path: Path) -> Path:
    """The pictures are noise, the container is in order, as with Common Encryption."""
    content = bytearray(write_video(path, container="mp4").read_bytes())
    start = content.index(b"mdat") + 4
    end = start - 8 + struct.unpack(">I", content[start - 8 : start - 4])[0]
    content[start + 4 : end] = np.random.default_rng(7).integers(0, 256, end - start - 4, np.uint8).tobytes()
    path.write_bytes(content)
    return path


def without_tracks(path: Path) -> Path:
    return replaced(write_video(path, container="mp4"), b"trak", b"free")


def cut_off(path: Path) -> Path:
    content = write_video(path, container="mp4").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def cut_off_in_its_header(path: Path) -> Path:
    content = write_video(path, container="mp4", options={"movflags": "faststart"}).read_bytes()
    path.write_bytes(content[: content.index(b"moov") + 200])
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (unknown_in_mp4, r"its codec XYZW is not known\. Let the"),
        (unknown_in_avi, r"its codec ABCD is not known\. Let the"),
        (unknown_in_matroska, r"its codec is not known\. Let the"),
        (another_codec, "holds no frame that can be decoded"),
        (encrypted, "holds no frame that can be decoded"),
        (audio_only, "has no video"),
        (audio_with_cover, "has no video"),
        (without_tracks, "has no video"),
        (cut_off, "is not a video that can be decoded"),
        (cut_off_in_its_header, "is not a video that can be decoded|has no video"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_in_one_line(tmp_path: Path, make: object, reason: str) -> None:
    assert callable(make)
    path = make(tmp_path / "video.bin")
    camera = Camera("till-1", parse_source(str(path)), fps=5, max_side=640, jpeg_quality=85)
    with pytest.raises(UsageError, match=rf"camera till-1: .*video\.bin ({reason})") as refused:
        check_files([camera])
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_damage_at_its_start_does_not_refuse_a_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.avi", codec="mjpeg", pixels="yuvj420p")
    content = bytearray(path.read_bytes())
    first, second = (content.index(b"\xff\xd8\xff", at) for at in (0, content.index(b"\xff\xd8\xff") + 1))
    content[first : second - 8] = bytes(second - 8 - first)
    path.write_bytes(content)
    check_file(path)


@pytest.mark.parametrize("text", [b"\xe4\xf6\xfc\xff", b"\x80\x81"])
def test_texts_in_a_file_that_are_not_utf_8_do_no_harm(tmp_path: Path, text: bytes) -> None:
    marker = b"X" * len(text)
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as output:
        output.metadata["title"] = marker.decode() + " in the shop"
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")))
        output.mux(stream.encode(None))
    check_file(replaced(path, marker, text))


def test_nothing_is_written_to_the_log_while_a_codec_is_looked_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CameraUnavailableError):
        open_file(unknown_in_mp4(tmp_path / "video.mp4"))
    assert capfd.readouterr() == ("", "")
