"""The text of a source: what it means, and mistakes that are reported before anything starts."""

from pathlib import Path

import pytest

from edge.sources import parse_source
from framematch.core.errors import UsageError

CANARY = "hunter2"


@pytest.mark.parametrize(
    "url",
    ["rtsp://10.0.0.5/stream1", "rtsps://h/x", "http://h/mjpg", "https://h/x.m3u8", "rtmp://h/x",
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
    (tmp_path / "a.mp4").write_bytes(b"video")
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


def source_at(folder: Path, text: str) -> str:
    (folder / "source").write_text(text)
    return f"@{folder / 'source'}"


def test_the_one_line_of_a_file_can_be_the_source(tmp_path: Path) -> None:
    source = parse_source(source_at(tmp_path, f"rtsp://user:{CANARY}@10.0.0.5/1\n"))
    assert (source.kind, source.address) == ("stream", f"rtsp://user:{CANARY}@10.0.0.5/1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (f"rtsp://u:{CANARY}@h\nrtsp://u:{CANARY}@i", "has 2 lines"),
        (CANARY, "is no source that can be read"),
        (f"ftp://u:{CANARY}@h", "is no source that can be read"),
        (CANARY * 1_000, "is no source that can be read"),
        (CANARY * 20_000, "is not a line of text"),
        (f"rtsp://u:{CANARY}\0@h/1", "is not a line of text"),
        ("\ufeff", "is empty"),
        (f"@{CANARY}", "is no source that can be read"),
    ],
)
def test_a_file_without_a_source_is_named_and_never_quoted(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_source(source_at(tmp_path, text))
    assert str(tmp_path / "source") in str(raised.value)
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize("before", ["\ufeff", "\n", "  "])
@pytest.mark.parametrize("behind", ["\n", "\r\n", "\n\n", "  \n"])
def test_a_byte_order_mark_and_white_space_around_the_line_do_not_count(
    tmp_path: Path, before: str, behind: str
) -> None:
    assert parse_source(source_at(tmp_path, f"{before}rtsp://10.0.0.5/1{behind}")).address == "rtsp://10.0.0.5/1"


@pytest.mark.parametrize(("text", "message"), [("@", "no file is named after @"), ("@.", "no file is named after @")])
def test_an_at_sign_without_a_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_source(text)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UsageError, match=r"the file '.*empty\.mp4' is empty"):
        parse_source(str(tmp_path / "empty.mp4"))


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("RTSP://10.0.0.5/Stream1", "rtsp://10.0.0.5/Stream1"),
        ("Https://Camera/x", "https://Camera/x"),
        ("rtsp://user@10.0.0.5/1", "rtsp://user:@10.0.0.5/1"),
        ("rtsp://user:@10.0.0.5/1", "rtsp://user:@10.0.0.5/1"),
        ("udp://:5000", "udp://:5000"),
        ("rtsp://10.0.0.5/a@b", "rtsp://10.0.0.5/a@b"),
    ],
)
def test_a_url_is_written_as_libav_reads_it(given: str, address: str) -> None:
    assert parse_source(given).address == address


@pytest.mark.parametrize("url", ["rtsp://", "RTSP:///stream", "http://:80/x", f"rtsp://u:{CANARY}@/1"])
def test_a_url_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="names no host") as raised:
        parse_source(url)
    assert CANARY not in str(raised.value)


def test_the_rest_of_a_password_that_was_cut_off_is_not_shown() -> None:
    with pytest.raises(UsageError, match="a port that is none") as raised:
        parse_source(f"rtsp://user:{CANARY}")
    assert CANARY not in str(raised.value)


def test_a_file_of_a_source_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nowhere: No such file"):
        parse_source(f"@{tmp_path / 'nowhere'}")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not text"):
        parse_source(f"@{tmp_path / 'bytes'}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"rtsp://user:{CANARY} x@10.0.0.5/1", "white space.* Write a space as %20"),
        (f"rtsp://user:{CANARY}/x@10.0.0.5/1", "a port that is none.* write / as %2F"),
        (f"rtsp://user:{CANARY}[x@10.0.0.5/1", "brackets that do not match"),
    ],
)
def test_a_password_that_breaks_the_url_is_reported_with_how_to_write_it(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_source(url)
    assert CANARY not in str(raised.value)


def test_credentials_without_a_scheme_are_not_shown() -> None:
    with pytest.raises(UsageError, match=r"'\*\*\*@10\.0\.0\.5/1'") as raised:
        parse_source(f"admin:{CANARY}@10.0.0.5/1")
    assert CANARY not in str(raised.value)
