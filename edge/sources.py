"""Parses the text of a camera's source: a stream, a device, a file or a folder of images."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from framematch.core.errors import UsageError
from framematch.core.redact import redact_argument

Kind = Literal["stream", "device", "file", "folder"]

IMAGE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "rtp", "udp", "tcp")
_DEVICE = re.compile(r"(?:/dev/video)?(\d{1,4})")
_SCHEMES_WITHOUT_HOST = ("rtp", "udp", "tcp")  # they can listen: udp://:5000
_LINE_BYTES_MAX = 65_536
_AFTER_AT = "After @ comes a file with one line"
_HINT = (
    "A source is a URL such as rtsp://host/path, a video file, a device number such as 0, a folder of images, "
    "or @FILE whose one line is any of these"
)


@dataclass(frozen=True)
class Source:
    """Where frames come from. `address` may contain credentials: show `str(source)` instead."""

    kind: Kind
    address: str = field(repr=False)

    @property
    def live(self) -> bool:
        """Whether frames arrive in real time: a live source does not wait for a slow reader."""
        return self.kind in ("stream", "device")

    def __str__(self) -> str:
        return redact_argument(self.address)


def parse_source(text: str) -> Source:
    """Parse `text`. Files and folders must exist; a stream or a device may be unavailable for now.

    `@FILE` stands for the one line of that file, so that a secret of Docker or Kubernetes can be a source.

    Raises:
        UsageError: an unknown kind of URL, no such file, or a folder without images. It never quotes `@FILE`.
    """
    if not text.startswith("@"):
        return _parse(text)
    line = _only_line(Path(text[1:]))
    try:
        return _parse(line)
    except UsageError as error:
        raise UsageError(f"what {text[1:]} holds is no source that can be read", hint=error.hint) from None


def source_file(text: str) -> Path | None:
    """The file of `@FILE`, or None for other sources."""
    return Path(text[1:]) if text.startswith("@") else None


def image_files(folder: Path) -> list[Path]:
    """The images of `folder`, without subfolders and hidden files, sorted by name."""
    return sorted(path for path in folder.iterdir() if _is_image(path))


def _is_image(path: Path) -> bool:
    """Decided by the name. Hidden files do not count: other systems leave some beside pictures."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _only_line(path: Path) -> str:
    """The line of `@FILE`. A byte-order mark and blank lines around it do not count."""
    if path == Path():
        raise UsageError("no file is named after @", hint=_AFTER_AT)
    try:
        with path.open("rb") as file:
            data = file.read(_LINE_BYTES_MAX + 1)
        lines = data.decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        what = f"cannot read {path}: {reason}" if reason else f"{path} is not text"
        raise UsageError(what, hint=_AFTER_AT) from None
    written = [line.strip() for line in lines if line.strip()]
    if not written:
        raise UsageError(f"{path} is empty", hint="Its one line is the source")
    if len(written) > 1:
        raise UsageError(f"{path} has {len(written)} lines", hint="Its one line is the source; a file for each camera")
    if len(data) > _LINE_BYTES_MAX or not written[0].isprintable():
        raise UsageError(f"{path} is not a line of text", hint=_AFTER_AT)
    return written[0]


def _parse(text: str) -> Source:
    if "://" in text:
        return _stream(text)
    if device := _DEVICE.fullmatch(text):
        return Source("device", device[1])
    path, shown = Path(text), redact_argument(text)
    try:
        if path.is_file():
            if not path.stat().st_size:
                raise UsageError(f"the file {shown!r} is empty", hint="Check how it was made")
            return Source("file", text)
        is_folder = path.is_dir()
    except OSError as error:
        raise UsageError(f"cannot look for {shown!r}: {error.strerror}", hint=_HINT) from None
    if not is_folder:
        raise UsageError(f"no file or folder {shown!r}", hint=_HINT)
    if not image_files(path):
        raise UsageError(f"no images in the folder {shown!r}", hint=f"Known are {', '.join(sorted(IMAGE_SUFFIXES))}")
    return Source("folder", text)


def _stream(url: str) -> Source:
    scheme, _, rest = url.partition("://")
    shown = redact_argument(url)
    if scheme.lower() not in _SCHEMES:
        raise UsageError(f"cannot read {shown!r}: URLs start with {', '.join(_SCHEMES)}", hint=_HINT)
    if not url.isprintable() or " " in url:
        raise UsageError(f"{shown!r} has white space or other invisible characters", hint="Write a space as %20")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # a property that raises
    except ValueError:
        # Not shown: without an "@" a part of a password stands where the port should be.
        raise UsageError(
            "a URL has a port that is none, or brackets that do not match",
            hint="In a password write / as %2F, ? as %3F, # as %23, [ as %5B and % as %25",
        ) from None
    if not parts.hostname and scheme.lower() not in _SCHEMES_WITHOUT_HOST:
        raise UsageError(f"{shown!r} names no host", hint=_HINT)
    if parts.username and parts.password is None:
        rest = rest.replace("@", ":@", 1)  # for libav, a user without a password has no login
    return Source("stream", f"{scheme.lower()}://{rest}")  # libav takes schemes in lower case only
