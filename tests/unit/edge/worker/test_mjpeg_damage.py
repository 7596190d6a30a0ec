"""Motion JPEG of streams and files: a picture that is not whole is damaged, though libav decodes it."""

from contextlib import ExitStack
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edge.worker.decoded import FrameConverter
from edge.worker.http_source import HttpOpener, ResponseBody
from edge.worker.mjpeg import MjpegReader
from edge.worker.video import open_file
from tests.unit.pictures.samples import jpeg, photo, scan_start

WHOLE = jpeg()
HALF = (scan_start(WHOLE) + len(WHOLE)) // 2
NOISE = np.random.default_rng(1).integers(0, 255, len(WHOLE) - HALF, np.uint8).tobytes()


def usable(folder: Path, second: bytes) -> list[bool]:
    """Which of three pictures can be used, of which the second has these bytes."""
    parts = [jpeg(photo()[::-1]), second, jpeg(photo()[:, ::-1])]
    heads = [b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(part) for part in parts]
    (folder / "video.mjpeg").write_bytes(
        b"".join(head + part + b"\r\n" for head, part in zip(heads, parts, strict=True))
    )
    reader = open_file(folder / "video.mjpeg")
    found = []
    while (grabbed := reader.grab()) is not None:
        found.append(not grabbed.damaged and reader.retrieve() is not None)
    reader.close()
    return found


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[:HALF],
        WHOLE[:HALF] + b"\xff\xd9",
        WHOLE[:HALF] + NOISE + b"\xff\xd9",
        WHOLE[:HALF] + bytes(900) + b"\xff\xd9",
    ],
)
def test_a_damaged_picture_of_motion_jpeg_is_left_out(data: bytes, tmp_path: Path) -> None:
    assert usable(tmp_path, data) == [True, False, True]


@pytest.mark.parametrize("data", [WHOLE, WHOLE + bytes(900), WHOLE[:-2]])
def test_a_whole_picture_of_motion_jpeg_is_sent(data: bytes, tmp_path: Path) -> None:
    assert usable(tmp_path, data) == [True, True, True]


class FakeOpener:
    deadline_s: float | None = None
    failure: str | None = None


class FakeBody:
    """A response that has arrived as a whole."""

    content_type = "multipart/x-mixed-replace"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, _size: int) -> bytes:
        content, self._content = self._content, b""
        return content


def test_a_damaged_picture_of_a_web_source_is_left_out() -> None:
    parts = [WHOLE, WHOLE[:HALF] + b"\xff\xd9", WHOLE]
    body = FakeBody(b"".join(b"--x\r\n\r\n" + part + b"\r\n" for part in parts))
    reader = MjpegReader(
        cast("HttpOpener", FakeOpener()),
        "http://camera/",
        cast("ResponseBody", body),
        ExitStack(),
        FrameConverter("mjpeg"),
        interval_s=1,
        timeout_s=5,
    )
    found = []
    for _ in parts:
        reader.grab()
        found.append(reader.retrieve() is not None)
    assert found == [True, False, True]
