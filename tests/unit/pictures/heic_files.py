"""HEIC files: pictures coded as HEVC in a container like that of a phone."""

import struct
from fractions import Fraction

import av
import numpy as np

from framematch.core.arrays import Pixels

_NAL_LENGTH_BYTES = 4
_PARAMETER_SETS = (32, 33, 34)  # VPS, SPS, PPS


def heic(picture: Pixels, *, quarter_turns: int = 0, orientation: int | None = None, profile: bytes = b"") -> bytes:
    """A file with one picture, even in both sides, which is shown turned left by so many quarters.

    `orientation` is an EXIF tag beside that, `profile` an ICC profile.
    """
    height, width = picture.shape[:2]
    nals = _hevc(picture)
    sets = [nal for nal in nals if _kind(nal) in _PARAMETER_SETS]
    coded = b"".join(struct.pack(">I", len(nal)) + nal for nal in nals if _kind(nal) < _PARAMETER_SETS[0])
    properties = [
        _box(b"hvcC", _hevc_configuration(sets)),
        _full_box(b"ispe", struct.pack(">II", width, height)),
        *([_box(b"irot", bytes([quarter_turns]))] if quarter_turns else []),
        *([_box(b"colr", b"prof" + profile)] if profile else []),
    ]
    exif = b"" if orientation is None else _exif(orientation)
    meta = _meta(properties, [coded, *([exif] if exif else [])], offset=0)
    kind = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    meta = _meta(properties, [coded, *([exif] if exif else [])], offset=len(kind) + len(meta) + 8)
    return kind + meta + _box(b"mdat", coded + exif)


def _hevc(picture: Pixels) -> list[bytes]:
    """The NAL units of a picture."""
    height, width = picture.shape[:2]
    codec = av.codec.CodecContext.create("libx265", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuv444p", Fraction(1)
    codec.options = {"x265-params": "log-level=none:qp=4:keyint=1:info=0:frame-threads=1:pools=none"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
        format="yuv444p", dst_colorspace="ITU601", dst_color_range="MPEG"
    )
    stream = b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
    return [nal.rstrip(b"\0") for nal in stream.split(b"\0\0\1") if nal.rstrip(b"\0")]


def _kind(nal: bytes) -> int:
    return (nal[0] >> 1) & 0x3F


def _hevc_configuration(sets: list[bytes]) -> bytes:
    profile = bytes([4]) + struct.pack(">I", 0x08000000) + bytes(6) + bytes([30])
    head = bytes([1]) + profile + b"\xf0\0\xfc\xff\xf8\xf8\0\0" + bytes([0x0F, len(sets)])
    return head + b"".join(bytes([0x80 | _kind(nal)]) + struct.pack(">HH", 1, len(nal)) + nal for nal in sets)


def _meta(properties: list[bytes], items: list[bytes], *, offset: int) -> bytes:
    kinds = [b"hvc1", b"Exif"][: len(items)]
    entries = b"".join(
        _box(b"infe", bytes([2, 0, 0, 0]) + struct.pack(">HH", number, 0) + kind + b"\0")
        for number, kind in enumerate(kinds, 1)
    )
    places, at = b"", offset
    for number, item in enumerate(items, 1):
        places += struct.pack(">HHHII", number, 0, 1, at, len(item))
        at += len(item)
    associations = struct.pack(">IHB", 1, 1, len(properties)) + bytes(0x80 | n + 1 for n in range(len(properties)))
    parts = [
        _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13)),
        _full_box(b"pitm", struct.pack(">H", 1)),
        _full_box(b"iloc", bytes([0x44, 0]) + struct.pack(">H", len(items)) + places),
        _full_box(b"iinf", struct.pack(">H", len(items)) + entries),
        _box(b"iprp", _box(b"ipco", b"".join(properties)) + _full_box(b"ipma", associations)),
    ]
    if len(items) > 1:
        parts.append(_full_box(b"iref", _box(b"cdsc", struct.pack(">HHH", 2, 1, 1))))
    return _full_box(b"meta", b"".join(parts))


def _exif(orientation: int) -> bytes:
    tags = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    return struct.pack(">I", 6) + b"Exif\0\0" + tags


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _full_box(kind: bytes, content: bytes) -> bytes:
    return _box(kind, bytes(4) + content)
