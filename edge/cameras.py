"""Turns settings into cameras, and reports mistakes in them before anything starts."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from edge.sources import Source, parse_source
from framematch.core.errors import UsageError
from framematch.core.settings import (
    CameraSettings,
    Decode,
    EdgeSettings,
    MaskSettings,
    MotionSettings,
    RegionSettings,
    UntaggedColours,
)


@dataclass(frozen=True)
class Camera:
    """The resolved settings of one camera: `fps` frames a second, `max_side` in pixels.

    Timeouts in seconds; None: those of the edge.
    """

    id: str
    source: Source
    fps: float
    max_side: int
    jpeg_quality: int
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    decode: Decode = "software"
    key_frames_only: bool = False
    motion: MotionSettings = field(default_factory=MotionSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    masks: tuple[MaskSettings, ...] = ()
    allowed_hosts: tuple[str, ...] = ()  # of an HTTP source: only these lead to other hosts
    untagged_colours: UntaggedColours = "auto"
    open_timeout_s: float | None = None
    read_timeout_s: float | None = None
    watchdog_s: float | None = None


def cameras_from(settings: EdgeSettings) -> tuple[Camera, ...]:
    """The cameras that `settings` describe.

    Raises:
        UsageError: there are none, though the edge follows nothing; or the source of one cannot be right.
    """
    if not settings.cameras and settings.follow is None:
        raise UsageError(
            "no cameras are set",
            hint="Give --camera till-1=rtsp://host/path, or edge.cameras in the file of --config, or edge.follow",
        )
    return tuple(_camera(name, camera, settings) for name, camera in settings.cameras.items())


def _camera(name: str, camera: CameraSettings, settings: EdgeSettings) -> Camera:
    try:
        source = parse_source(camera.source.get_secret_value())
    except UsageError as error:
        raise UsageError(f"camera {name}: {error.message}", hint=error.hint) from None
    return camera_from(name, camera, settings, source)


def camera_from(name: str, camera: CameraSettings, settings: EdgeSettings, source: Source) -> Camera:
    """A camera with this source, whatever the source in its settings is."""
    return Camera(
        id=name,
        source=source,
        fps=camera.fps or settings.fps,
        max_side=camera.max_side or settings.max_side,
        jpeg_quality=camera.jpeg_quality or settings.jpeg_quality,
        rtsp_transport=camera.rtsp_transport or settings.rtsp_transport,
        decode=camera.decode or settings.decode,
        key_frames_only=camera.key_frames_only,
        motion=camera.motion or settings.motion,
        regions=camera.regions or settings.regions,
        masks=camera.masks,
        untagged_colours=camera.untagged_colours,
        open_timeout_s=camera.open_timeout_s,
        read_timeout_s=camera.read_timeout_s,
        watchdog_s=camera.watchdog_s,
        allowed_hosts=settings.allowed_hosts if urlsplit(source.address).scheme in ("http", "https") else (),
    )
