"""The JSON messages for operators and subscribers: match events, sightings, camera status and log events.

The JSON Schemas in `framematch/core/schemas/` are the contract; golden files in the tests pin the bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import resources
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from framematch.core import exact_json
from framematch.core.amounts import to_amount
from framematch.core.frames import CAMERA_PATTERN, Clock, Frame, Region
from framematch.core.timestamps import from_rfc3339, to_rfc3339

MATCH_SCHEMA = "match.v1"
SIGHTING_SCHEMA: Literal["sighting.v1"] = "sighting.v1"
STATUS_SCHEMA = "camera-status.v1"
LOG_SCHEMA: Literal["log.v1"] = "log.v1"

DecisionKind = Literal["match", "ambiguous", "unknown"]
DecisionReason = Literal["no_content", "quality", "empty", "below_threshold", "tie", "below_margin"]
CalibrationState = Literal["none", "valid", "stale"]
MetadataState = Literal["fresh", "cached", "missing"]
CameraState = Literal["online", "degraded", "offline"]
SightingKind = Literal["started", "updated", "ended"]
EndReason = Literal["gap", "silent"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

CameraId = Annotated[str, msgspec.Meta(pattern=CAMERA_PATTERN)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339; `decode` checks it."""
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Gtin = Annotated[str, msgspec.Meta(pattern="^[0-9]{14}$")]

Message = TypeVar("Message")

SIMILARITY_DIGITS: Final = 6
"""Of a similarity: it was computed with single precision, so further ones are noise."""


@dataclass(frozen=True)
class FrameReference:
    """The frame of an event, with the coordinates of its record.

    `captured_at` is by the camera's clock where it has one; `grabbed_at` is when the frame arrived, by the edge's
    clock. `replayed`: the frame was spooled on the edge's disk.
    """

    id: str
    camera: CameraId
    captured_at: Time
    sequence: Count
    topic: str
    partition: Count
    offset: Count
    grabbed_at: Time | None = None
    replayed: bool = False

    @property
    def arrived_at(self) -> str:
        """When the frame arrived, by the edge's clock."""
        return self.grabbed_at or self.captured_at


@dataclass(frozen=True)
class SkuInfo:
    """An article that looks like the product: its number, GTIN, price, and what tells it from the others."""

    id: str
    gtin: Gtin | None = None
    price: Decimal | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProductInfo:
    """A product as the catalogue describes it. Events of older consumers have neither a currency nor SKUs.

    Prices are JSON numbers with exactly the catalogue's digits.
    """

    id: str
    name: str
    category: str | None = None
    price: Decimal | None = None
    description: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    currency: Currency | None = None
    skus: tuple[SkuInfo, ...] = ()


@dataclass(frozen=True)
class CandidateInfo:
    """A product and its similarity; an event lists the best one first."""

    product_id: str
    score: float


@dataclass(frozen=True)
class ModelInfo:
    """The served model that made the embedding."""

    name: str
    digest: str


@dataclass(frozen=True)
class BestPicture:
    """The picture of a sighting with the highest similarity, and the coordinates of its record in the frames topic."""

    frame_id: str
    partition: Count
    offset: Count
    region: Region
    score: float


@dataclass(frozen=True)
class SightingLink:
    """The state, after the event's frame, of the sighting that a match event belongs to.

    `frames` counts the matching frames since `started_at`. The other fields are as in a sighting event; they have their
    defaults in events of a consumer that did not count votes. `product_id` is the sighting's product, whatever this
    event's picture shows. `challenge` counts the last clear frames in a row in which another product led.
    """

    id: str
    started_at: Time
    frames: Annotated[int, msgspec.Meta(ge=1)]
    best: BestPicture
    product_id: str | None = None
    votes: dict[str, float] = field(default_factory=dict)
    frames_used: float = 0.0
    runner_up: str | None = None
    changed_from: str | None = None
    challenge: float = 0.0


@dataclass(frozen=True)
class MatchEvent:
    """The decision for one region of one frame (`match.v1`).

    `product` is set only for the decision `match`; `reason` says why it is another one. `score` is null when the region
    was compared with no product, `margin` without a second one. `sighting` is null outside of a sighting. `reused_from`
    is the id of the frame whose decision was reused for this static region; null when the model was run. `delta` is the
    number of the newest change of a single product that was searched; 0 before the first one. `plausible` counts the
    leading candidates that may be the product: one for a match, the whole set of an ambiguous decision. `quality` is
    that of the region's picture, from 0 to 1; null when it was not measured. `calibration` says whether the stated
    rates of the thresholds hold: `stale` when what the camera sees has changed. `tentative` is the state of what may
    become a sighting; null when the event belongs to one, or shows nothing that was recognised. `sketch` is that of the
    region's embedding (Base64), in events with one of both. A duplicate event has the same `id`.
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
    reason: DecisionReason | None = None
    delta: Count = 0
    plausible: Count = 0
    quality: float | None = None
    calibration: CalibrationState = "none"
    tentative: SightingLink | None = None
    sketch: str | None = None


@dataclass(frozen=True)
class SightingEvent:
    """A product came into a camera's view, is still there, or has left (`sighting.v1`).

    Times are arrival times of frames, by the edge's clock. `reason` says why the sighting ended: `gap`, later frames
    did not show the product; `silent`, the camera sent no frames. `votes` is the evidence for products, best first, and
    `frames_used` the number of frames that it comes from, those that weigh less in part. `runner_up` is the best
    product beside this one. `changed_from` is the product that the sighting had until this event; null when it is the
    same. A duplicate event has the same `id`.
    """

    schema: Literal["sighting.v1"]
    id: str
    sighting: str
    kind: SightingKind
    camera: CameraId
    product: ProductInfo
    started_at: Time
    last_seen_at: Time
    frames: Annotated[int, msgspec.Meta(ge=1)]
    best: BestPicture
    snapshot: str
    reason: EndReason | None = None
    votes: dict[str, float] = field(default_factory=dict)
    frames_used: float = 0.0
    runner_up: str | None = None
    changed_from: str | None = None


@dataclass(frozen=True)
class RefusedSettings:
    """Why an edge does not run a camera as the topic `.cameras` wants it; `generation` is that of the wanted settings.

    `generation` is null when it cannot be read.
    """

    generation: Count | None
    reason: str
    hint: str


@dataclass(frozen=True)
class CameraStatus:
    """The state of a camera (`camera-status.v1`); rates are averages since the last status.

    Fields with a default are missing in the status of an older edge. `degraded`: the source is open, but frames were
    dropped since the last status or are spooled on disk, or the stream lags; `reason` says which. `edge` is the name of
    the edge. `generation` is that of the wanted settings that the camera runs with; null for a camera of the edge's own
    file. `refused` says why newer ones, or the only ones, are not in force.
    """

    schema: Literal["camera-status.v1"]
    camera: CameraId
    state: CameraState
    reason: str | None
    at: Time
    source_fps: float
    sent_fps: float
    drops: dict[str, Count]
    last_frame_age_s: float | None
    reconnects: Count
    since: Time | None = None
    interval_s: float | None = None
    captured_fps: float | None = None
    still_fps: float = 0.0
    spooled_frames: Count = 0
    spooled_bytes: Count = 0
    lag_s: float | None = None
    clock: Clock | None = None
    resolution: tuple[int, int] | None = None
    decoder: str | None = None
    decoder_reason: str | None = None
    settings_error: str | None = None
    edge: str | None = None
    generation: Count | None = None
    refused: RefusedSettings | None = None


@dataclass(frozen=True)
class LogEvent:
    """A log event of a service (`log.v1`), without secrets. `fields` are those of the log line, as JSON values."""

    schema: Literal["log.v1"]
    id: str
    at: Time
    service: str
    host: str
    pid: Count
    level: LogLevel
    event: str
    fields: dict[str, Any]


def frame_reference(frame: Frame, topic: str, partition: int, offset: int) -> FrameReference:
    """A reference to `frame`, which was read from the record at these coordinates."""
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


def similarity(score: float) -> float:
    """A cosine similarity as an event has it; the product of two unit vectors can exceed 1 by a rounding error."""
    rounded = round(score, SIMILARITY_DIGITS)
    return rounded if -1.0 <= rounded <= 1.0 else max(-1.0, min(1.0, rounded))


def encode(message: MatchEvent | SightingEvent | CameraStatus | LogEvent) -> bytes:
    """Encode a message as UTF-8 JSON; a value without a JSON type becomes a string (`catalog.values` leaves none)."""
    return exact_json.encode(message)


def decode(value: bytes, kind: type[Message]) -> Message:
    """Decode a message of type `kind`; unknown fields, as a newer version may add, are ignored.

    Every time in it can be parsed, prices are amounts that a double can hold, and a match has its product: whoever
    reads it later need not check.

    Raises:
        msgspec.DecodeError: the value is not JSON, or not a message of this kind.
    """
    try:
        message: Message = _DECODERS[kind].decode(value)
        for at in _times(message):
            from_rfc3339(at)
        if isinstance(message, MatchEvent) and (message.product is None) == (message.decision == "match"):
            raise msgspec.ValidationError(f"the decision {message.decision!r} does not fit to the product")
        if isinstance(message, MatchEvent | SightingEvent) and message.product is not None:
            _check_prices(message.product)
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise msgspec.ValidationError(str(error)) from None
    return message


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (MatchEvent, SightingEvent, CameraStatus, LogEvent)
}


def _check_prices(product: ProductInfo) -> None:
    for price in (product.price, *(sku.price for sku in product.skus)):
        if price is not None and to_amount(price) is None:
            raise msgspec.ValidationError(f"{price} is no price")


def _times(message: object) -> Iterator[str]:
    match message:
        case MatchEvent(frame=frame, sighting=sighting, tentative=tentative):
            yield frame.captured_at
            yield frame.arrived_at
            for state in (sighting, tentative):
                if state is not None:
                    yield state.started_at
        case SightingEvent():
            yield message.started_at
            yield message.last_seen_at
        case CameraStatus():
            yield message.at
            yield message.since or message.at
        case LogEvent():
            yield message.at


def json_schema(name: str) -> dict[str, Any]:
    """The published JSON Schema with this name, such as `match.v1` or `camera-settings.v1`."""
    text = resources.files("framematch.core.schemas").joinpath(f"{name}.json").read_bytes()
    schema: dict[str, Any] = msgspec.json.decode(text)
    return schema
