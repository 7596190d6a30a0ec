"""Tells from the text of a camera's source what it is: a stream, a device, a file or a folder of images."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from framematch.core.errors import UsageError
from framematch.core.redact import redact_url

Kind = Literal["stream", "device", "file", "folder"]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "rtp", "udp", "tcp")
_DEVICE = re.compile(r"(?:/dev/video)?(\d{1,4})")
_HINT = "A source is a URL such as rtsp://host/path, a video file, a device number such as 0, or a folder of images"


@dataclass(frozen=True)
class Source:
    """Where frames come from. `address` may hold credentials: show `str(source)` instead."""

    kind: Kind
    address: str = field(repr=False)

    @property
    def live(self) -> bool:
        """Whether frames come when the camera sends them, so that waiting means missing some."""
        return self.kind in ("stream", "device")

    def __str__(self) -> str:
        return redact_url(self.address)


def parse_source(text: str) -> Source:
    """The source that `text` names. Files and folders must exist; a stream or a device may be away.

    Raises:
        UsageError: an unknown kind of URL, no such file, or a folder without images.
    """
    if "://" in text:
        return _stream(text)
    if device := _DEVICE.fullmatch(text):
        return Source("device", device[1])
    path = Path(text)
    if path.is_file():
        return Source("file", text)
    if not path.is_dir():
        raise UsageError(f"no file or folder {text!r}", hint=_HINT)
    if not image_files(path):
        raise UsageError(f"no images in the folder {text!r}", hint=f"Known are {', '.join(sorted(IMAGE_SUFFIXES))}")
    return Source("folder", text)


def image_files(folder: Path) -> list[Path]:
    """The images of `folder` itself, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _stream(url: str) -> Source:
    scheme = url.partition("://")[0].lower()
    if scheme not in _SCHEMES:
        raise UsageError(f"cannot read {redact_url(url)!r}: URLs start with {', '.join(_SCHEMES)}", hint=_HINT)
    return Source("stream", url)
