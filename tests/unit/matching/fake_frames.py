"""Match events of frames that do not exist, for the tests of sightings."""

from collections.abc import Iterable

from framematch.core.events import (
    MATCH_SCHEMA,
    CandidateInfo,
    DecisionKind,
    FrameReference,
    MatchEvent,
    ModelInfo,
    ProductInfo,
    SightingEvent,
    frame_reference,
)
from framematch.core.frames import Frame
from framematch.core.ids import match_event_id
from framematch.core.settings import SightingSettings
from framematch.core.timestamps import from_rfc3339

SETTINGS = SightingSettings(start_frames=2, gap_s=3.0, update_s=10.0, silent_s=10.0)
_START_US = 1_767_225_600_000_000


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def frame_events(
    at_s: float, *shown: str, camera: str = "till-1", number: int | None = None, offset: int = 0, partition: int = 0
) -> list[MatchEvent]:
    """The events of a frame that arrived at `at_s`, with a region for each of `shown`.

    `milk` is a match, `milk 0.9` one with that score, `milk?` an ambiguous decision, an empty text an unknown product.
    Frames of one camera and time are equal unless their `number` differs.
    """
    grabbed_at_us = _START_US + round(at_s * 1_000_000)
    sequence = grabbed_at_us if number is None else number
    frame = Frame(camera, 7, sequence, grabbed_at_us=grabbed_at_us)  # the camera's own clock does not advance
    reference = frame_reference(frame, "framematch.frames", partition, offset)
    return [_event(reference, place, text) for place, text in enumerate(shown or ("",))]


def changes(sightings: Iterable[SightingEvent]) -> list[tuple[str, str]]:
    """Kind and product of each event."""
    return [(event.kind, event.product.id) for event in sightings]


def seconds(at: str) -> float:
    """An event's time in the seconds of `frame_events`."""
    return (from_rfc3339(at) - _START_US) / 1_000_000


def _event(frame: FrameReference, place: int, text: str) -> MatchEvent:
    name, _, score_text = text.partition(" ")
    product = name.rstrip("?")
    score = float(score_text or 0.8)
    kind: DecisionKind = "unknown" if not name else "ambiguous" if name.endswith("?") else "match"
    region = (10 * place, 0, 10, 10)
    return MatchEvent(
        schema="match.v1",
        id=match_event_id(frame.id, region, MATCH_SCHEMA),
        frame=frame,
        region=region,
        decision=kind,
        score=score,
        margin=None,
        threshold=0.75,
        product=ProductInfo(product, product.title()) if kind == "match" else None,
        candidates=(CandidateInfo(product or "nearest", score),),
        snapshot="20260101-000000-abcdef",
        model=ModelInfo("demo", "00ff"),
        metadata_state="fresh",
        timings_ms={},
    )
