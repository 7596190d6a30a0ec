"""JPEGs: every kind that cameras write is read, what is damaged is refused, and nothing is printed."""

import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import simplejpeg

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.jpeg import read_jpeg
from tests.unit.pictures.samples import (
    END_OF_IMAGE,
    START_OF_SCAN,
    encoded,
    inserted,
    jpeg,
    photo,
    scan_start,
    segment,
    without_segments,
)

MAX_PIXELS = 100_000
PLAIN = jpeg()
RESTARTS = jpeg(restart_marker_blocks=3)
PROGRESSIVE = jpeg(progressive=True)
SIZE = PLAIN.index(b"\xff\xc0")
HALF = (scan_start(PLAIN) + len(PLAIN)) // 2
HUFFMAN_TABLES, QUANTISATION_TABLES = 0xC4, 0xDB
RESTART_MARKER = re.compile(rb"(\xff[\xd0-\xd7])")


def decoded(data: bytes, reduction: int = 1) -> Pixels:
    return read_jpeg(data, max_pixels=MAX_PIXELS).decode(reduction)


def reason(data: bytes) -> str:
    with pytest.raises(PictureError) as raised:
        decoded(data)
    return raised.value.reason


def outcome_of(data: bytes) -> str:
    """The size of the picture, or the reason why there is none."""
    try:
        height, width, _ = decoded(data).shape
    except PictureError as error:
        return error.reason
    return f"{height} x {width}"


KINDS = {
    "plain": PLAIN,
    "progressive": PROGRESSIVE,
    "with restart markers": RESTARTS,
    "4:4:4": jpeg(subsampling=0),
    "4:2:2": jpeg(subsampling=1),
    "4:4:0": simplejpeg.encode_jpeg(photo(), 90, colorsubsampling="440"),
    "4:1:1": simplejpeg.encode_jpeg(photo(), 90, colorsubsampling="411"),
    "with its own tables": jpeg(optimize=True),
    "CMYK as Photoshop stores it": encoded(photo(), "JPEG", "CMYK", quality=95),
    "without Huffman tables, as USB cameras send it": without_segments(PLAIN, HUFFMAN_TABLES),
    "in a zeroed buffer": PLAIN + bytes(5_000),
    "in a buffer filled with FF": PLAIN + b"\xff" * 5_000,
    "in a buffer with an older JPEG": PLAIN + jpeg(photo()[::-1])[300:],
    "two JPEGs": PLAIN + PLAIN,
    "a motion photo": PLAIN + b"\0\0\0\x18ftypmp42" + np.random.default_rng(0).bytes(12_000_000),
    "with a thumbnail in its header": inserted(PLAIN, 2, segment(0xE1, b"Exif\0\0" + jpeg(photo(32, 24)))),
    "with several pictures (MPF)": inserted(PLAIN, 2, segment(0xE2, b"MPF\0II*\0" + bytes(60))) + PLAIN,
    "zeros in front of the end marker": PLAIN[:-2] + bytes(40) + END_OF_IMAGE,
    "zeros in front of a progressive one's end": PROGRESSIVE[:-2] + bytes(40) + END_OF_IMAGE,
    "fill bytes in front of the end marker": PLAIN[:-2] + b"\xff\xff\xff" + END_OF_IMAGE,
    "bytes in front of each restart marker": RESTART_MARKER.sub(b"a few bytes, as some webcams do" + rb"\1", RESTARTS),
    "bytes between segments": inserted(PLAIN, PLAIN.index(b"\xff\xdb"), b"\0\x17"),
    "bytes behind the start marker": inserted(PLAIN, 2, bytes(3)),
    "an unknown JFIF revision": PLAIN.replace(b"JFIF\0\1\1", b"JFIF\0\3\1"),
    "an invalid colour profile": inserted(PLAIN, 2, segment(0xE2, b"ICC_PROFILE\0\5\2ab")),
    "an empty Exif segment": inserted(PLAIN, 2, segment(0xE1, b"Exif\0\0")),
    "zeros in front of the end marker of a motion photo": PLAIN[:-2] + bytes(40) + END_OF_IMAGE + PLAIN,
    "bytes between segments, and zeros in front of the end marker": (
        inserted(PLAIN[:-2], PLAIN.index(b"\xff\xdb"), b"\0\x17") + bytes(40) + END_OF_IMAGE
    ),
    "bytes between segments and in front of restart markers": inserted(
        RESTART_MARKER.sub(b"a few bytes, as some webcams do" + rb"\1", RESTARTS), 2, bytes(3)
    ),
    "an unknown Adobe transform": inserted(without_segments(PLAIN, 0xE0), 2, segment(0xEE, b"Adobe\0\x64\0\0\0\0\x07")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_jpeg_of_any_kind_is_read(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = decoded(KINDS[kind])
    assert found.shape == (64, 96, 3)
    assert float(np.abs(found.astype(int) - photo()).mean()) < 6
    assert capfd.readouterr() == ("", "")


def test_a_grey_jpeg_has_three_equal_channels() -> None:
    found = decoded(encoded(photo(), "JPEG", "L"))
    assert np.array_equal(found[..., 0], found[..., 1])
    assert np.array_equal(found[..., 0], found[..., 2])


def test_a_rare_colour_sampling_is_read_as_opencv_reads_it() -> None:
    data = bytearray(simplejpeg.encode_jpeg(np.full((64, 64, 3), (200, 100, 50), np.uint8), 95))
    data[SIZE + 11] = 0x42  # 4:1:0; no encoder at hand writes it, so the colours are not those from before
    expected = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_COLOR)
    assert expected is not None
    assert np.array_equal(decoded(bytes(data)), expected[:, :, ::-1])
    assert decoded(bytes(data), 4).shape == (16, 16, 3)


def test_a_cut_jpeg_of_a_rare_colour_sampling_is_refused() -> None:
    data = bytearray(PLAIN[:HALF])
    data[SIZE + 11] = 0x42
    assert reason(bytes(data)) == "truncated"


def patched(offset: int, new: bytes) -> bytes:
    """The plain JPEG with other bytes behind the marker of its size."""
    return PLAIN[: SIZE + offset] + new + PLAIN[SIZE + offset + len(new) :]


def noise(length: int) -> bytes:
    """Random bytes that are no marker."""
    return np.random.default_rng(5).integers(0, 255, length, np.uint8).tobytes()


RESTART_3 = RESTARTS.index(b"\xff\xd3", scan_start(RESTARTS))
RESTART_4 = RESTARTS.index(b"\xff\xd4", RESTART_3)
DAMAGED = {
    "half": (PLAIN[:HALF], "truncated"),
    "half, in a zeroed buffer": (PLAIN[:HALF] + bytes(5_000), "truncated"),
    "half, with an end marker": (PLAIN[:HALF] + END_OF_IMAGE, "undecodable"),
    "half, with an end marker and a buffer": (PLAIN[:HALF] + END_OF_IMAGE + bytes(5_000), "undecodable"),
    "one byte of the scan, with an end marker": (PLAIN[: scan_start(PLAIN) + 1] + END_OF_IMAGE, "undecodable"),
    "the second half is noise": (PLAIN[:HALF] + noise(len(PLAIN) - HALF) + END_OF_IMAGE, "undecodable"),
    "the second half is zeros": (PLAIN[:HALF] + bytes(len(PLAIN) - HALF) + END_OF_IMAGE, "undecodable"),
    "a third is missing": (PLAIN[: HALF // 2] + PLAIN[HALF:], "undecodable"),
    "without an end marker": (PLAIN[:-2], "truncated"),
    "half of a thumbnail's picture": (KINDS["with a thumbnail in its header"][:-800], "truncated"),
    "half of a progressive one": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "truncated"),
    "half of a progressive one, with an end marker": (
        PROGRESSIVE[: len(PROGRESSIVE) // 2] + END_OF_IMAGE,
        "undecodable",
    ),
    "a restart interval is missing": (RESTARTS[:RESTART_3] + RESTARTS[RESTART_4:], "undecodable"),
    "bytes in front of a restart marker, and one is missing": (
        RESTARTS[:RESTART_3] + bytes(20) + RESTARTS[RESTART_3:RESTART_4] + RESTARTS[RESTART_4 + 300 :],
        "undecodable",
    ),
    "taller than its data": (patched(5, struct.pack(">H", 128)), "undecodable"),
    "wider than its data": (patched(7, struct.pack(">H", 128)), "undecodable"),
    "lower than its data": (patched(5, struct.pack(">H", 32)), "undecodable"),
    "without quantisation tables": (without_segments(PLAIN, QUANTISATION_TABLES), "undecodable"),
    "lossless": (patched(0, b"\xff\xc3"), "undecodable"),
    "no size": (patched(5, bytes(4)), "not_a_jpeg"),
    "12 bits": (patched(4, b"\x0c"), "not_a_jpeg"),
    "two components": (patched(9, b"\x02"), "not_a_jpeg"),
    "a header alone": (PLAIN[: SIZE + 2], "not_a_jpeg"),
    "markers alone": (b"\xff\xd8\xff\xd9", "not_a_jpeg"),
    "a PNG": (encoded(photo(), "PNG"), "not_a_jpeg"),
    "nothing": (b"", "not_a_jpeg"),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("reduction", [1, 2, 8])
def test_a_damaged_jpeg_is_refused_and_nothing_is_printed(
    kind: str, reduction: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data, expected = DAMAGED[kind]
    with pytest.raises(PictureError) as raised:
        decoded(data, reduction)
    assert raised.value.reason == expected
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("original", [PLAIN, PROGRESSIVE, KINDS["with a thumbnail in its header"]])
def test_a_jpeg_that_is_cut_anywhere_has_no_end(original: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = {outcome_of(original[:end]) for end in range(0, len(original) - 1, 7)}
    assert outcomes == {"not_a_jpeg", "truncated"}
    assert capfd.readouterr() == ("", "")


def test_the_reason_quotes_libjpeg() -> None:
    with pytest.raises(PictureError, match="is damaged: Corrupt JPEG data: premature end of data segment"):
        decoded(PLAIN[:HALF] + END_OF_IMAGE)


def test_a_jpeg_larger_than_allowed_is_refused_by_its_header() -> None:
    with pytest.raises(PictureError, match="has 65535 x 65535 pixels, more than 100,000") as raised:
        read_jpeg(patched(5, b"\xff\xff\xff\xff"), max_pixels=MAX_PIXELS)
    assert raised.value.reason == "too_many_pixels"


def test_a_jpeg_full_of_scans_is_refused_before_it_is_decoded() -> None:
    first = PROGRESSIVE.index(START_OF_SCAN)
    second = PROGRESSIVE.index(START_OF_SCAN, first + 1)
    many = PROGRESSIVE[:second] + PROGRESSIVE[first:second] * 200 + PROGRESSIVE[second:]
    with pytest.raises(PictureError, match="scans, more than the 100 allowed"):
        decoded(many)


FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@pytest.mark.parametrize("reduction", FLAGS)
@pytest.mark.parametrize("size", [(198, 198), (131, 77), (16, 120)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_the_pixels_are_those_of_opencv(size: tuple[int, int], reduction: int, options: dict[str, bool]) -> None:
    data = jpeg(photo(*size), **options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[reduction])
    assert expected is not None
    assert np.array_equal(decoded(data, reduction), expected[:, :, ::-1])


def test_threads_decode_at_once_and_each_gets_its_own_picture() -> None:
    levels = list(range(0, 250, 10))
    files = [jpeg(np.full((64, 64, 3), level, np.uint8)) for level in levels]
    with ThreadPoolExecutor(4) as pool:
        means = [round(float(picture.mean())) for picture in pool.map(decoded, files * 8)]
    assert means == levels * 8


def flip(data: bytearray, at: int, random: np.random.Generator) -> None:
    data[at] ^= 1 << int(random.integers(8))


def overwrite(data: bytearray, at: int, random: np.random.Generator) -> None:
    data[at : at + 24] = random.bytes(24)


def remove(data: bytearray, at: int, random: np.random.Generator) -> None:
    del data[at : at + int(random.integers(1, 40))]


def repeat(data: bytearray, at: int, random: np.random.Generator) -> None:
    data[at:at] = data[at : at + int(random.integers(1, 40))]


def blank(data: bytearray, at: int, random: np.random.Generator) -> None:
    length = int(random.integers(1, 200))
    data[at : at + length] = bytes(length)


def cut(data: bytearray, at: int, random: np.random.Generator) -> None:
    del data[at:]
    data += END_OF_IMAGE if random.integers(2) else b""


Mutation = Callable[[bytearray, int, np.random.Generator], None]


@pytest.mark.parametrize("mutate", [flip, overwrite, remove, repeat, blank, cut])
@pytest.mark.parametrize("original", [PLAIN, RESTARTS, PROGRESSIVE], ids=["plain", "restarts", "progressive"])
def test_what_libjpeg_warns_of_is_never_a_picture(
    original: bytes, mutate: Mutation, capfd: pytest.CaptureFixture[str]
) -> None:
    """OpenCV decodes such a picture, and libjpeg's warning goes to stderr: there it is read."""
    random = np.random.default_rng(7)
    files, taken = [], set()
    for number in range(120):
        data = bytearray(original)
        mutate(data, int(random.integers(scan_start(original), len(data))), random)
        files.append(bytes(data))
        outcome = outcome_of(files[-1])
        assert outcome in {"64 x 96", "truncated", "undecodable"}
        if outcome == "64 x 96":
            taken.add(number)
    assert capfd.readouterr() == ("", "")
    assert len(taken) < len(files)
    for number in sorted(taken):
        cv2.imdecode(np.frombuffer(files[number], np.uint8), cv2.IMREAD_COLOR)
        harmless = re.compile(r"extraneous bytes before marker 0xd[0-79]")
        warnings = [line for line in capfd.readouterr().err.splitlines() if not harmless.search(line)]
        assert warnings == []


def test_any_header_gives_a_picture_or_a_reason(capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(11)
    end = scan_start(PLAIN)
    for _ in range(1_500):
        data = bytearray(PLAIN)
        for at in random.integers(2, end, int(random.integers(1, 4))):
            data[at] = int(random.choice([0, 1, 0x11, 0x22, 0x7F, 0xC0, 0xC4, 0xD9, 0xDA, 0xE1, 0xFF]))
        outcome = outcome_of(bytes(data))
        assert " x " in outcome or outcome in {"not_a_jpeg", "too_many_pixels", "truncated", "undecodable"}
    assert capfd.readouterr() == ("", "")
