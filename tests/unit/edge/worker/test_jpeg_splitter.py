"""JPEGs are found in any stream of bytes, complete, in order, and as soon as they are there."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.worker.jpeg_splitter import JpegSplitter


def jpeg(level: int, *options: int, size: int = 48) -> bytes:
    picture = np.random.default_rng(level).integers(0, 256, (size, size, 3), np.uint8)
    return cv2.imencode(".jpg", picture, list(options))[1].tobytes()


def with_thumbnail(level: int) -> bytes:
    """An EXIF segment that holds a JPEG of its own."""
    segment = b"Exif\0\0" + jpeg(99, size=16)
    return b"\xff\xd8\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg(level)[2:]


PICTURES = (
    jpeg(0),
    jpeg(1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    jpeg(2, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    with_thumbnail(3),
    jpeg(4).replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),  # fill bytes before a marker
)
BETWEEN = (
    b"",
    b"\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 1\r\n\r\n",
    b"--\xff\xff\xd8--\xff\xd9",
    bytes(5_000),
)


def split(*chunks: bytes) -> list[bytes | None]:
    splitter = JpegSplitter()
    found: list[bytes | None] = []
    for chunk in chunks:
        splitter.feed(chunk)
        while (part := splitter.next()) is not None:
            found.append(part.jpeg)
    return found


@given(
    st.lists(st.tuples(st.sampled_from(BETWEEN), st.sampled_from(PICTURES)), min_size=1, max_size=4),
    st.integers(1, 5_000),
)
@settings(max_examples=50, deadline=None)
def test_every_picture_is_found_whatever_is_between_them_and_however_it_arrives(
    parts: list[tuple[bytes, bytes]], chunk_bytes: int
) -> None:
    stream = b"".join(between + picture for between, picture in parts)
    chunks = [stream[at : at + chunk_bytes] for at in range(0, len(stream), chunk_bytes)]
    assert split(*chunks) == [picture for _, picture in parts]


def test_a_picture_is_given_with_its_last_byte() -> None:
    assert split(PICTURES[0][:-1]) == []
    assert split(PICTURES[0][:-1], PICTURES[0][-1:]) == [PICTURES[0]]


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("between", BETWEEN[:2])
def test_a_picture_that_breaks_off_is_damage_and_the_next_one_is_found(kept: float, between: bytes) -> None:
    broken = PICTURES[0][: int(kept * len(PICTURES[0]))]
    assert split(broken + between + PICTURES[1] + PICTURES[2]) == [None, PICTURES[1], PICTURES[2]]


def test_what_only_starts_like_a_picture_is_damage() -> None:
    found = split(
        b"\xff\xd8\xff\xe0\0\x01 no segment has one byte" + PICTURES[1] + b"\xff\xd8\xff\xe0\0\x04ab??" + PICTURES[2]
    )
    assert [picture for picture in found if picture] == [PICTURES[1], PICTURES[2]]


@given(st.binary(max_size=500), st.integers(0, 2_000), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_no_bytes_make_it_fail(noise: bytes, at: int, value: int) -> None:
    picture = bytearray(PICTURES[0])
    picture[at % len(picture)] = value
    split(noise, bytes(picture), noise)


def test_bytes_that_are_no_picture_are_counted_and_forgotten() -> None:
    splitter = JpegSplitter()
    for _ in range(100):
        splitter.feed(b"<html>" * 1_000)
        assert splitter.next() is None
    assert splitter.skipped_bytes > 590_000
    assert len(splitter) < 10
