"""The messages that operators and subscribers read: match events, sightings, camera status, and their JSON.

The JSON Schemas in `framematch/core/schemas/` are the contract; golden files in the tests pin the bytes.
"""

from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, TypeVar

import msgspec

from framematch.core.frames import Clock, Frame, Region
from framematch.core.ids import match_event_id, sighting_event_id
from framematch.core.timestamps import to_rfc3339

MATCH_SCHEMA = "match.v1"
SIGHTING_SCHEMA: Literal["sighting.v1"] = "sighting.v1"
STATUS_SCHEMA = "camera-status.v1"

DecisionKind = Literal["match", "ambiguous", "unknown"]
MetadataState = Literal["fresh", "cached", "missing"]
CameraState = Literal["online", "degraded", "offline"]
SightingKind = Literal["started", "updated", "ended"]
EndReason = Literal["gap", "silent"]

Message = TypeVar("Message")


@dataclass(frozen=True)
class FrameReference:
    """Which frame an event is about, and where its record lies.

    `captured_at` is by the camera's clock where it has one; `grabbed_at` is by the edge's, when the frame came.
    `replayed`: it has waited on the edge's disk.
    """

    id: str
    camera: str
    captured_at: str
    sequence: int
    topic: str
    partition: int
    offset: int
    grabbed_at: str | None = None
    replayed: bool = False

    @property
    def came_at(self) -> str:
        """When the frame came, by the edge's clock."""
        return self.grabbed_at or self.captured_at


@dataclass(frozen=True)
class ProductInfo:
    """A product as the catalogue describes it."""

    id: str
    name: str
    category: str | None = None
    price: float | None = None
    description: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CandidateInfo:
    """A product and its similarity, best first in an event."""

    product_id: str
    score: float


@dataclass(frozen=True)
class ModelInfo:
    """The served model that made the embedding."""

    name: str
    digest: str


@dataclass(frozen=True)
class BestPicture:
    """The picture of a sighting with the highest similarity, and where its frame's record lies in the frames topic."""

    frame_id: str
    partition: int
    offset: int
    region: Region
    score: float


@dataclass(frozen=True)
class SightingLink:
    """The sighting that a match event belongs to, as it is after the event's frame.

    `frames` counts those that matched, from the one at `started_at` on.
    """

    id: str
    started_at: str
    frames: int
    best: BestPicture


@dataclass(frozen=True)
class MatchEvent:
    """The decision for one region of one frame (`match.v1`).

    `product` is set for the decision `match` alone. `score` and `margin` are null when the index has no product, or
    no second one. `sighting` is null while there is none. `reused_from`: the frame, of the same still scene, whose
    decision this is; null when the model has seen this one. A repeat of the same frame has the same `id`.
    """

    schema: Literal["match.v1"]
    id: str
    frame: FrameReference
    region: Region
    decision: DecisionKind
    score: float | None
    margin: float | None
    threshold: float
    product: ProductInfo | None
    candidates: tuple[CandidateInfo, ...]
    snapshot: str
    model: ModelInfo
    metadata_state: MetadataState
    timings_ms: dict[str, float]
    sighting: SightingLink | None = None
    reused_from: str | None = None


@dataclass(frozen=True)
class SightingEvent:
    """A product came before a camera, is still there, or has left (`sighting.v1`).

    Times are those at which frames came, by the edge's clock. `reason` says why it ended: `gap`, the camera went on
    without showing it; `silent`, the camera sent nothing any more. The same change told again has the same `id`.
    """

    schema: Literal["sighting.v1"]
    id: str
    sighting: str
    kind: SightingKind
    camera: str
    product: ProductInfo
    started_at: str
    last_seen_at: str
    frames: int
    best: BestPicture
    snapshot: str
    reason: EndReason | None = None


@dataclass(frozen=True)
class CameraStatus:
    """How a camera is doing (`camera-status.v1`); rates are over the time since the last status.

    What has a default came later: in the status of an older edge it is missing. `degraded`: the source is open, but
    frames were dropped since the last status, or wait on disk, or the stream lags behind; `reason` says which.
    """

    schema: Literal["camera-status.v1"]
    camera: str
    state: CameraState
    reason: str | None
    at: str
    source_fps: float
    sent_fps: float
    drops: dict[str, int]
    last_frame_age_s: float | None
    reconnects: int
    since: str | None = None
    interval_s: float | None = None
    captured_fps: float | None = None
    still_fps: float = 0.0
    spooled_frames: int = 0
    spooled_bytes: int = 0
    lag_s: float | None = None
    clock: Clock | None = None
    resolution: tuple[int, int] | None = None
    settings_error: str | None = None


def frame_reference(frame: Frame, topic: str, partition: int, offset: int) -> FrameReference:
    """What an event says of `frame`, read from the record at these coordinates."""
    return FrameReference(
        id=frame.id,
        camera=frame.camera,
        captured_at=to_rfc3339(frame.captured_at_us),
        sequence=frame.sequence,
        topic=topic,
        partition=partition,
        offset=offset,
        grabbed_at=None if frame.grabbed_at_us is None else to_rfc3339(frame.grabbed_at_us),
        replayed=frame.replayed,
    )


def event_headers(event_id: str, kind: str, camera: str, at: str) -> list[tuple[str, bytes]]:
    """CloudEvents headers (Kafka binding, binary mode) of a JSON event about a camera; `kind` such as `match.v1`."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": f"/framematch/cameras/{camera}",
        "ce_type": f"framematch.{kind}",
        "ce_time": at,
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in headers.items()]


def match_headers(event: MatchEvent, at: str, traceparent: str | None = None) -> list[tuple[str, bytes]]:
    """Headers of a match event made at `at` (RFC 3339)."""
    headers = event_headers(event.id, MATCH_SCHEMA, event.frame.camera, at)
    return [*headers, ("traceparent", traceparent.encode())] if traceparent else headers


def sighting_headers(event: SightingEvent, at: str) -> list[tuple[str, bytes]]:
    """Headers of a sighting event made at `at` (RFC 3339)."""
    return event_headers(event.id, SIGHTING_SCHEMA, event.camera, at)


def region_event_id(frame: FrameReference, region: Region) -> str:
    """Id of the match event for this region."""
    return match_event_id(frame.id, region, MATCH_SCHEMA)


def sighting_change_id(sighting: str, kind: SightingKind, last_seen_frame: str) -> str:
    """Id of the event that says so of the sighting with id `sighting`, last seen in the frame with this id."""
    return sighting_event_id(sighting, kind, last_seen_frame, SIGHTING_SCHEMA)


def encode(message: MatchEvent | SightingEvent | CameraStatus) -> bytes:
    """The message as UTF-8 JSON. What JSON has no type for, as an ObjectId among a product's attributes, is text."""
    return msgspec.json.encode(message, enc_hook=str)


def decode(value: bytes, kind: type[Message]) -> Message:
    """The message in `value`; fields that a newer version added are ignored.

    Raises:
        msgspec.DecodeError: not JSON, or not a message of this kind.
    """
    return msgspec.json.decode(value, type=kind)


def json_schema(name: str) -> dict[str, Any]:
    """The published JSON Schema `match.v1`, `sighting.v1` or `camera-status.v1`."""
    text = resources.files("framematch.core.schemas").joinpath(f"{name}.json").read_bytes()
    schema: dict[str, Any] = msgspec.json.decode(text)
    return schema
