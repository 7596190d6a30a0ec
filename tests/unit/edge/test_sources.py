"""A source's text: what it means, and mistakes that are said before anything starts."""

from pathlib import Path

import pytest

from edge.sources import parse_source
from framematch.core.errors import UsageError

CANARY = "hunter2"


@pytest.mark.parametrize(
    "url",
    ["rtsp://10.0.0.5/stream1", "RTSP://host/x", "rtsps://h/x", "http://h/mjpg", "https://h/x.m3u8", "rtmp://h/x",
     "udp://239.0.0.1:1234"],
)  # fmt: skip
def test_urls_are_live_streams(url: str) -> None:
    source = parse_source(url)
    assert (source.kind, source.address, source.live) == ("stream", url, True)


@pytest.mark.parametrize("text", ["0", "12", "/dev/video3"])
def test_numbers_are_live_devices(text: str) -> None:
    source = parse_source(text)
    assert (source.kind, source.live) == ("device", True)
    assert source.address == text.removeprefix("/dev/video")


def test_a_file_is_finite(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    source = parse_source(str(tmp_path / "a.mp4"))
    assert (source.kind, source.live) == ("file", False)


def test_a_folder_with_images_is_finite(tmp_path: Path) -> None:
    (tmp_path / "a.JPG").touch()
    source = parse_source(str(tmp_path))
    assert (source.kind, source.live) == ("folder", False)


def test_a_folder_without_images_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="no images in the folder"):
        parse_source(str(tmp_path))


def test_a_missing_file_is_a_mistake_that_names_the_kinds() -> None:
    with pytest.raises(UsageError, match=r"no file or folder 'missing\.mp4'\. A source is a URL"):
        parse_source("missing.mp4")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat://x", "ftp://h/x", "://x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="URLs start with rtsp"):
        parse_source(url)


def test_neither_text_nor_repr_shows_credentials() -> None:
    source = parse_source(f"rtsp://user:{CANARY}@10.0.0.5/1")
    assert str(source) == "rtsp://***@10.0.0.5/1"
    assert CANARY not in repr(source)


def test_a_refused_url_does_not_show_credentials() -> None:
    with pytest.raises(UsageError) as raised:
        parse_source(f"ftp://user:{CANARY}@10.0.0.5/1")
    assert CANARY not in str(raised.value)
