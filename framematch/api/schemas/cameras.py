"""Cameras: what a client wants of one, and what is known of it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from framematch.api.cameras.view import Managed, Shown
from framematch.core.camera_settings import EDGE_NAME_PATTERN
from framematch.core.frames import CAMERA_PATTERN

CameraName = Annotated[str, StringConstraints(pattern=CAMERA_PATTERN)]
EdgeName = Annotated[str, StringConstraints(pattern=EDGE_NAME_PATTERN)]

_SETTINGS = (
    "as `edge.cameras.<id>` in docs/settings.md, without the source; what is not set is taken from the edge's settings"
)
_SOURCE = (
    "`rtsp://`, `http://` … of a stream, or `@NAME` of a file in the edge's folder of secrets. It is write-only: it is "
    "stored encrypted, and shown as `rtsp://***@host/…`"
)
_EXAMPLE_SETTINGS: dict[str, Any] = {"fps": 2, "regions": {"mode": "grid", "columns": 4, "rows": 3}}


_CAMERA: dict[str, Any] = {
    "camera": "till-1",
    "managed": "topic",
    "edge": "shop-1",
    "state": "online",
    "reason": None,
    "generation": 7,
    "observed_generation": 7,
    "refused": None,
    "source": "rtsp://***@10.0.0.5/…",
    "settings": _EXAMPLE_SETTINGS,
    "changed_at": "2026-01-01T00:00:00.123456Z",
}
_REPORT: dict[str, Any] = {
    "schema": "camera-status.v1",
    "camera": "till-1",
    "state": "degraded",
    "reason": "frames dropped: 3 overrun",
    "at": "2026-01-01T00:00:10.000000Z",
    "since": "2026-01-01T00:00:00.000000Z",
    "interval_s": 10.0,
    "source_fps": 25.0,
    "captured_fps": 5.0,
    "sent_fps": 4.7,
    "drops": {"overrun": 3},
    "last_frame_age_s": 0.04,
    "clock": "rtcp",
    "resolution": [1920, 1080],
    "decoder": "software",
    "reconnects": 0,
    "edge": "shop-1",
    "generation": 7,
}


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class CameraPut(_Request):
    """A camera as it is to be."""

    edge: EdgeName = Field(description="name of the edge that is to run it (`edge.name`)", examples=["shop-1"])
    source: str | None = Field(
        None, max_length=2_048, description=f"{_SOURCE}. Not given: as before",
        examples=["rtsp://viewer:secret@10.0.0.5/stream1"],
    )  # fmt: skip
    settings: dict[str, Any] = Field(default_factory=dict, description=_SETTINGS, examples=[_EXAMPLE_SETTINGS])


class CameraPatch(_Request):
    """What to change of a camera (RFC 7396); null removes a setting."""

    edge: EdgeName | None = Field(None, description="name of the edge that is to run it", examples=["shop-2"])
    source: str | None = Field(None, max_length=2_048, description=_SOURCE, examples=["@till-1.url"])
    settings: dict[str, Any] | None = Field(
        None, description="settings to change; null as a whole: all are those of the edge", examples=[{"fps": None}]
    )


class CameraValidate(CameraPut):
    """A camera to check."""

    camera: CameraName = Field(examples=["till-1"])


class FieldNote(BaseModel):
    """What is wrong with one part of the camera."""

    pointer: str = Field(description="a JSON pointer into the body", examples=["/settings/fps"])
    detail: str = Field(examples=["input should be greater than 0"])


class CameraCheck(BaseModel):
    """What would become of a camera. The camera itself was not asked."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"valid": True, "errors": [], "notes": [], "source": "rtsp://***@10.0.0.5/…"}]}
    )

    valid: bool
    errors: list[FieldNote]
    notes: list[str] = Field(description="what does not make it invalid", examples=[["no edge shop-9 has reported"]])
    source: str | None = Field(description="the source as it will be shown", examples=["rtsp://***@10.0.0.5/…"])


class Refused(BaseModel):
    """Why an edge does not run the camera as it is wanted."""

    generation: int | None = Field(description="of the refused settings; null when it cannot be read")
    reason: str = Field(examples=["its host 10.0.1.5 is not allowed here"])
    hint: str = Field(examples=["The operator of this edge adds it to edge.follow_hosts"])


class Camera(BaseModel):
    """A camera: as it is wanted, and as its edge reports it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CAMERA]})

    camera: str = Field(examples=["till-1"])
    managed: Managed = Field(description="`topic`: by this API. `file`: by the own settings of its edge")
    edge: str | None = Field(description="name of its edge; null when an older edge does not say it")
    state: Shown = Field(
        description="`online`, `degraded` and `offline` as reported; `stale`: its edge is silent; `pending`: its edge "
        "has not reported it yet"
    )
    reason: str | None = Field(description="why it is not online")
    generation: int | None = Field(description="grows with each change; the ETag. Null if it is not managed here")
    observed_generation: int | None = Field(
        description="the newest generation that its edge knows; equal to `generation` once the change has arrived"
    )
    refused: Refused | None = Field(description="why the newest generation is not in force")
    source: str | None = Field(description="without secrets", examples=["rtsp://***@10.0.0.5/…"])
    settings: dict[str, Any] | None = Field(description=_SETTINGS, examples=[_EXAMPLE_SETTINGS])
    changed_at: str | None = Field(description="when the wanted settings were changed last", examples=[None])


class CameraList(BaseModel):
    """A page of cameras, in the order of their ids."""

    items: list[Camera]
    next_page_token: str | None = None
    note: str | None = Field(None, description="why this may be old, for instance while Kafka does not answer")


class CameraReport(BaseModel):
    """What the edge has reported last (`camera-status.v1`). An older edge does not send every field."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_REPORT]})

    camera: str
    state: Literal["online", "degraded", "offline"]
    reason: str | None
    at: str = Field(description="when the edge reported it")
    since: str | None = None
    interval_s: float | None = None
    source_fps: float
    captured_fps: float | None = None
    still_fps: float = 0.0
    sent_fps: float
    drops: dict[str, int] = Field(description="frames not sent since the edge started, by reason")
    spooled_frames: int = 0
    spooled_bytes: int = 0
    last_frame_age_s: float | None
    lag_s: float | None = None
    clock: str | None = None
    resolution: tuple[int, int] | None = None
    decoder: str | None = Field(None, description="what decodes the video: software, vaapi or cuda")
    decoder_reason: str | None = Field(None, description="why it is not what the settings wish")
    reconnects: int
    settings_error: str | None = None
    edge: str | None = None
    generation: int | None = None
    refused: Refused | None = None
