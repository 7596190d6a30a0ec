"""The record of one wanted camera in the compacted topic `.cameras`, and which sources it may have.

A record comes over the network, so its source is never a file, a device or a folder, and never makes an edge listen: it
is a stream on one named host, encrypted, or the name of a file that the operator of the edge has provided.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from pydantic import ValidationError

from framematch.core.errors import UsageError
from framematch.core.events import CameraId, Time
from framematch.core.settings import CameraSettings
from framematch.core.settings_sources import reason_of
from framematch.core.timestamps import from_rfc3339

SETTINGS_SCHEMA: Final = "camera-settings.v1"
EDGE_NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SECRET_NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"  # noqa: S105  # of a file; it cannot leave its folder
SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps")
"""They connect to one host. `udp`, `rtp` and `tcp` can open a port of the edge, so only its own file may have them."""
RECORD_BYTES_MAX: Final = 65_536
GENERATION_MAX: Final = 2**53 - 1  # exact in JavaScript
_URL_CHARACTERS_MAX = 2_048
_SECRET_NAME = re.compile(SECRET_NAME_PATTERN)
# Nothing that a later decoding could turn into another host.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_ENCODING_HINT = "In a password write / as %2F, ? as %3F, # as %23, [ as %5B and % as %25"


@dataclass(frozen=True)
class WantedSource:
    """`sealed`, the encrypted URL of a stream, or `secret`, the name of a file on the edge. `shown` is masked."""

    shown: str
    sealed: str | None = None
    secret: Annotated[str, msgspec.Meta(pattern=SECRET_NAME_PATTERN)] | None = None


@dataclass(frozen=True)
class WantedCamera:
    """A camera that an edge should run (`camera-settings.v1`).

    `generation` grows with every change of the camera, by one or more. `settings` are those of `edge.cameras.<id>`
    without the source. `edge` is the name of the edge that should run it; others ignore it.
    """

    schema: Literal["camera-settings.v1"]
    camera: CameraId
    generation: Annotated[int, msgspec.Meta(ge=1, le=GENERATION_MAX)]
    at: Time
    edge: Annotated[str, msgspec.Meta(pattern=EDGE_NAME_PATTERN)]
    source: WantedSource
    settings: dict[str, Any]


@dataclass(frozen=True)
class SettingProblem:
    """One setting of a camera that is wrong. `path` is empty for the settings as a whole."""

    path: tuple[str | int, ...]
    reason: str
    hint: str


class _Addressed(msgspec.Struct):
    """What is read of a record that is damaged elsewhere."""

    edge: str | None = None
    generation: int | None = None


_decoder = msgspec.json.Decoder(WantedCamera)
_addressed = msgspec.json.Decoder(_Addressed)


def encode_wanted(camera: WantedCamera) -> bytes:
    """The value of the record."""
    return msgspec.json.encode(camera)


def decode_wanted(key: str, value: bytes) -> WantedCamera:
    """Decode the record of the camera `key`; fields that a newer version may have added are ignored.

    Raises:
        msgspec.DecodeError: it is not JSON, not such a record, of another camera, or has no source or two.
    """
    try:
        camera = _decoder.decode(value)
        from_rfc3339(camera.at)
    except (ValueError, RecursionError) as error:
        raise msgspec.ValidationError(str(error)) from None
    if camera.camera != key:
        raise msgspec.ValidationError("its key is another camera")
    if (camera.source.sealed is None) == (camera.source.secret is None):
        raise msgspec.ValidationError("its source is neither sealed nor a secret, or both")
    return camera


def addressed_edge(value: bytes) -> tuple[str | None, int | None]:
    """The edge that a damaged record names, and its generation, as far as they can be read."""
    try:
        found = _addressed.decode(value)
    except (ValueError, RecursionError):
        return None, None
    return found.edge, found.generation


def check_settings(settings: Mapping[str, Any]) -> tuple[SettingProblem, ...]:
    """What is wrong with the settings of a wanted camera; they have no source. Never quotes a value."""
    if "source" in settings:
        return (SettingProblem(("source",), "the source is not among the settings", "Give it beside them"),)
    try:
        with_source(settings, "0")
    except ValidationError as error:
        return tuple(
            SettingProblem(tuple(part for part in one["loc"] if part != "[key]"), *reason_of(one))
            for one in error.errors(include_url=False)
        )
    return ()


def with_source(settings: Mapping[str, Any], source: str) -> CameraSettings:
    """The settings of a camera with its source.

    Raises:
        ValidationError: pydantic's, see `check_settings`.
    """
    return CameraSettings.model_validate({**settings, "source": source})


def secret_name(text: str) -> str | None:
    """NAME of a source `@NAME`; None for other sources.

    Raises:
        UsageError: what follows the @ is no name, for example a path.
    """
    if not text.startswith("@"):
        return None
    if not _SECRET_NAME.fullmatch(text[1:]):
        raise UsageError(
            "after @ comes the name of a file in the edge's folder of secrets, not a path",
            hint="Use letters, digits, '.', '_' and '-', a letter or digit first",
        )
    return text[1:]


def check_url(text: str) -> SplitResult:
    """Check the URL of a stream that is wanted by the topic, and return its parts.

    Raises:
        UsageError: another kind of source, or a URL that is no such stream. It quotes nothing, as it may be a password.
    """
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise UsageError(
            "a camera that is not in the edge's own file has a URL that starts with "
            + ", ".join(f"{one}://" for one in SCHEMES),
            hint="Devices, files, folders and streams that an edge listens for belong into its own file",
        )
    if len(text) > _URL_CHARACTERS_MAX or not text.isprintable() or " " in text:
        raise UsageError(
            f"the URL is longer than {_URL_CHARACTERS_MAX} characters, or has white space or other invisible ones",
            hint="Write a space as %20",
        )
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # a property that raises
    except ValueError:
        raise UsageError(
            "the URL has a port that is none, or brackets that do not match", hint=_ENCODING_HINT
        ) from None
    if not _HOST.fullmatch(parts.hostname or ""):
        raise UsageError("the URL names no host, or one with unusual characters", hint=_ENCODING_HINT)
    return parts


def masked(url: SplitResult) -> str:
    """The URL as everybody may see it: scheme, host and port. Paths and parameters of cameras contain passwords too."""
    _, at, address = url.netloc.rpartition("@")
    return f"{url.scheme}://{'***@' if at else ''}{address}{'/…' if url.path.strip('/') or url.query else ''}"
