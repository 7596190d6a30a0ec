"""What a picture's file is, by how it starts."""

from typing import Final

UNKNOWN: Final = "application/octet-stream"
# At an offset: how a file starts, its media type, and the extension of its name.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (0, b"\x89PNG", "image/png", ".png"),
    (8, b"WEBP", "image/webp", ".webp"),
    (4, b"ftypavif", "image/avif", ".avif"),
    (4, b"ftyp", "image/heic", ".heic"),
    (0, b"BM", "image/bmp", ".bmp"),
    (0, b"GIF8", "image/gif", ".gif"),
    (0, b"II*\0", "image/tiff", ".tif"),
    (0, b"MM\0*", "image/tiff", ".tif"),
)


def media_type(data: bytes) -> str:
    """The media type of a file; `UNKNOWN` when it is none of a picture."""
    return next((name for at, start, name, _ in _SIGNATURES if data[at : at + len(start)] == start), UNKNOWN)


def extension(data: bytes) -> str:
    """The extension of a file's name, with its dot; empty when it is none of a picture."""
    return next((name for at, start, _, name in _SIGNATURES if data[at : at + len(start)] == start), "")
