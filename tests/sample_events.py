"""Match events, sightings and log events for the tests of those who read them."""

from decimal import Decimal
from uuid import UUID

from framematch.core.events import (
    LOG_SCHEMA,
    MATCH_SCHEMA,
    BestPicture,
    CandidateInfo,
    DecisionKind,
    LogEvent,
    MatchEvent,
    ModelInfo,
    ProductInfo,
    SightingEvent,
    SightingKind,
    frame_reference,
)
from framematch.core.frames import Frame
from framematch.core.ids import match_event_id
from framematch.core.timestamps import to_rfc3339

AT_US = 1_767_225_600_000_000


def match_event(
    number: int = 0,
    *,
    camera: str = "till-1",
    decision: DecisionKind = "match",
    product: str = "milk",
    at_us: int = AT_US,
    score: float | None = 0.9,
) -> MatchEvent:
    """The event of a camera's frame with this sequence `number`, which came at `at_us`; `product` is the nearest."""
    frame = frame_reference(Frame(camera, at_us, number, grabbed_at_us=at_us), "framematch.frames", 0, number)
    return MatchEvent(
        schema="match.v1",
        id=match_event_id(frame.id, (0, 0, 10, 10), MATCH_SCHEMA),
        frame=frame,
        region=(0, 0, 10, 10),
        decision=decision,
        score=score,
        margin=None if score is None else 0.125,
        threshold=0.5,
        product=ProductInfo(product, product.title(), price=Decimal("1.5")) if decision == "match" else None,
        candidates=() if score is None else (CandidateInfo(product, score),),
        snapshot="20260101-000000-abcdef",
        model=ModelInfo("demo", "00ff"),
        metadata_state="fresh",
        timings_ms={"age": 12.5},
    )


def sighting_event(
    kind: SightingKind = "started",
    *,
    camera: str = "till-1",
    product: str = "milk",
    started_us: int = AT_US,
    seen_us: int = AT_US,
) -> SightingEvent:
    """An event of the camera's only sighting of this product."""
    return SightingEvent(
        schema="sighting.v1",
        id=f"{camera}-{product}-{kind}-{seen_us}",
        sighting=f"{camera}-{product}",
        kind=kind,
        camera=camera,
        product=ProductInfo(product, product.title()),
        started_at=to_rfc3339(started_us),
        last_seen_at=to_rfc3339(seen_us),
        frames=3,
        best=BestPicture("frame", 0, 0, (0, 0, 10, 10), 0.9),
        snapshot="20260101-000000-abcdef",
        reason="gap" if kind == "ended" else None,
    )


def log_event(number: int = 0, *, event: str = "camera_opened", at_us: int = AT_US) -> LogEvent:
    """A log event of an edge."""
    return LogEvent(
        schema=LOG_SCHEMA,
        id=str(UUID(int=number)),
        at=to_rfc3339(at_us),
        service="edge",
        host="till",
        pid=7,
        level="info",
        event=event,
        fields={"camera": "till-1", "resolution": [640, 480]},
    )
