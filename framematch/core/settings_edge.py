"""The settings of cameras and of the edge service."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticUseDefault

from framematch.core.host_patterns import is_host_pattern
from framematch.core.settings_section import CameraId, Section

FPS_MAX = 1000.0


def _short(name: str) -> BeforeValidator:
    """Accept a plain value for a section with one main setting, `name`: `motion: true`, `regions: motion`."""
    return BeforeValidator(lambda value: {name: value} if isinstance(value, str | bool) else value)


class MotionSettings(Section):
    """The motion gate: whether frames of a static scene are left out. `motion: true` stands for `{gate: true}`."""

    gate: bool = Field(False, description="send only frames with motion, and keep-alive frames of a static scene")
    min_area: float = Field(0.005, gt=0, le=1, description="minimum share of the picture that must change")
    keep_alive_s: float = Field(10.0, gt=0, description="maximum interval between two frames of a static scene")


Fraction = Annotated[float, Field(ge=0, le=1)]
Box = tuple[Fraction, Fraction, Fraction, Fraction]
"""`[x, y, width, height]` as shares of the picture, so that it holds at any resolution."""
Point = tuple[Fraction, Fraction]


class RegionSettings(Section):
    """The regions of a frame that are matched; each gives a match event. `regions: grid` stands for `{mode: grid}`."""

    mode: Literal["whole", "boxes", "grid", "motion"] = Field(
        "whole", description="the whole frame, fixed boxes, a grid, or boxes around motion"
    )
    boxes: tuple[Box, ...] = Field((), description="for mode boxes: [x, y, width, height] as shares of the picture")
    columns: int = Field(2, ge=1, le=16, description="for mode grid")
    rows: int = Field(2, ge=1, le=16, description="for mode grid")
    pad: float = Field(0.1, ge=0, le=1, description="for mode motion: margin around a box, as a share of its size")
    min_side: float = Field(0.05, gt=0, le=1, description="for mode motion: smaller boxes are enlarged to this share")
    most: int = Field(8, ge=1, le=64, description="for mode motion: maximum number of boxes, the largest")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.mode == "boxes") != bool(self.boxes):
            raise ValueError("mode boxes needs boxes, and boxes need mode boxes")
        if any(x + width > 1 or y + height > 1 or not width or not height for x, y, width, height in self.boxes):
            raise ValueError("a box is [x, y, width, height] as shares of the picture, and lies inside it")
        return self


Motion = Annotated[MotionSettings, _short("gate")]
Regions = Annotated[RegionSettings, _short("mode")]


class MaskSettings(Section):
    """A part of the picture that the motion gate ignores and, unless `hide` is false, every frame has in black."""

    polygon: tuple[Point, ...] = Field(min_length=3, description="[x, y] of each corner, as shares of the picture")
    hide: bool = True


class SpoolSettings(Section):
    """The spool: each camera's frames on disk while Kafka is unavailable."""

    enabled: bool = True
    folder: str | None = Field(None, description="not set: `edge-spool` in the state folder")
    max_mb: float = Field(512.0, gt=0, description="per camera, in 1e6 bytes; then the oldest frames are dropped")
    max_age_s: float = Field(3600.0, gt=0, description="older frames are dropped and counted")
    after_s: float = Field(1.0, gt=0, description="spooling starts after this time without an acknowledgement")


UntaggedColours = Literal["auto", "bt601", "bt709"]
Decode = Literal["auto", "software", "vaapi", "cuda"]


def _is_source(value: Any) -> bool:
    """Whether a value is a source; a number is a device."""
    return isinstance(value, str | int) and not isinstance(value, bool)


class CameraSettings(Section):
    """One camera; settings that are not set here are taken from the edge section."""

    source: SecretStr = Field(
        description="rtsp:// URL, file, device number, folder of images, or @FILE with one of them"
    )
    fps: float | None = Field(None, gt=0, le=FPS_MAX)
    max_side: int | None = Field(None, ge=32)
    jpeg_quality: int | None = Field(None, ge=1, le=100)
    rtsp_transport: Literal["tcp", "udp"] | None = None
    decode: Decode | None = None
    key_frames_only: bool = Field(False, description="decode only key frames: cheapest, for slow scenes")
    motion: Motion | None = None
    regions: Regions | None = None
    masks: tuple[MaskSettings, ...] = ()
    untagged_colours: UntaggedColours = Field(
        "auto", description="the colour matrix of a video that names none; auto: bt709 from 1280 x 720 on, else bt601"
    )
    open_timeout_s: float | None = Field(None, gt=0)
    read_timeout_s: float | None = Field(None, gt=0)
    watchdog_s: float | None = Field(None, gt=0)

    @field_validator("source", mode="before")
    @classmethod
    def _device_number(cls, value: Any) -> Any:
        return str(value) if _is_source(value) else value


class EdgeSettings(Section):
    """The cameras of the edge service, and how their frames are sent."""

    cameras: dict[CameraId, CameraSettings] = Field(default_factory=dict)
    name: CameraId | None = Field(
        None, description="name of this edge, for cameras that are wanted by Kafka; not set: the host's name"
    )
    follow: Literal["kafka"] | None = Field(
        None, description="kafka: also run the cameras that the topic `.cameras` wants of this edge"
    )
    follow_hosts: tuple[str, ...] = Field(
        (),
        description="hosts of such cameras that may be opened: names (`cam-1.shop`, `*.shop`), addresses and networks "
        "(`10.0.0.0/24`)",
    )
    follow_secrets: str | None = Field(
        None, description="folder with the files of such cameras whose source is `@NAME`; not set: there are none"
    )
    follow_max: int = Field(100, ge=1, description="maximum number of such cameras; further ones are refused")
    fps: float = Field(5.0, gt=0, le=FPS_MAX, description="frames per second of each camera")
    max_side: int = Field(640, ge=32, description="pixels; larger pictures are scaled down")
    jpeg_quality: int = Field(85, ge=1, le=100)
    motion: Motion = MotionSettings()
    regions: Regions = RegionSettings()
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    decode: Decode = Field(
        "software",
        description="what decodes video; auto: hardware if it opens; where hardware does not work, software does",
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="hosts, besides a source's own, that its redirects and playlists may use"
    )
    open_timeout_s: float = Field(5.0, gt=0)
    read_timeout_s: float = Field(5.0, gt=0)
    watchdog_s: float = Field(20.0, gt=0, description="a camera's process without a frame for this time is restarted")
    max_lag_s: float = Field(5.0, gt=0, description="a stream that lags further behind its own clock is reopened")
    backoff_initial_s: float = Field(0.5, gt=0)
    backoff_max_s: float = Field(30.0, gt=0)
    stable_after_s: float = Field(30.0, gt=0, description="after running for this time, a camera's backoff is reset")
    unacknowledged_max: int = Field(256, ge=1, description="frames sent and not yet acknowledged, over all cameras")
    unacknowledged_max_mb: float = Field(64.0, gt=0, description="the same by size, in 1e6 bytes")
    spool: SpoolSettings = SpoolSettings()
    status_interval_s: float = Field(10.0, gt=0)

    @field_validator("follow_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not is_host_pattern(host):
                raise ValueError("a host is a name such as cam-1.shop, *.shop, an address, or a network 10.0.0.0/24")
        return value

    @field_validator("cameras", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """Accept `till-1: rtsp://…` for `till-1: {source: rtsp://…}`."""
        if value is None:
            raise PydanticUseDefault  # as for a section
        if not isinstance(value, dict):
            return value
        return {key: {"source": item} if _is_source(item) else item for key, item in value.items()}
