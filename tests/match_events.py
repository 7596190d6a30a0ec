"""Match events for the tests of those who read them."""

from framematch.core.events import CandidateInfo, DecisionKind, MatchEvent, ModelInfo, ProductInfo, frame_reference
from framematch.core.events import region_event_id as event_id
from framematch.core.frames import Frame

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
        id=event_id(frame, (0, 0, 10, 10)),
        frame=frame,
        region=(0, 0, 10, 10),
        decision=decision,
        score=score,
        margin=None if score is None else 0.125,
        threshold=0.5,
        product=ProductInfo(product, product.title(), price=1.5) if decision == "match" else None,
        candidates=() if score is None else (CandidateInfo(product, score),),
        snapshot="20260101-000000-abcdef",
        model=ModelInfo("demo", "00ff"),
        metadata_state="fresh",
        timings_ms={"age": 12.5},
    )
