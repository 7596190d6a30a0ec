"""Motion JPEG of streams and files: a picture that is not whole is damaged, though libav decodes it."""

from pathlib import Path

import numpy as np
import pytest

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
