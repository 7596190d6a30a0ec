"""Match events of frames that do not exist, for the tests of sightings."""

import random
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
from framematch.matching.sketch import BITS, sketch_text

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

    `milk` is a match, `milk 0.9` one with that score, `milk?` an ambiguous decision, `milk-` a product that is not
    similar enough, an empty text an unknown product. `milk@box` has a sketch: the same picture wherever `@box` is said.
    `@box1` is the picture of that thing after one turn, which is similar to those before and after one more.
    `milk@box1 q0.2` has a quality. Frames of one camera and time are equal unless their `number` differs.
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


def sketch_of(picture: str) -> bytes:
    """The sketch of a picture such as `box2`: each turn changes an eighth of its bits, a cosine of 0.92."""
    thing = picture.rstrip("0123456789")
    order = list(range(BITS))
    rng = random.Random(thing)  # noqa: S311  # a test's picture
    bits = rng.getrandbits(BITS)
    rng.shuffle(order)
    for place in order[: 32 * int(picture[len(thing) :] or 0)]:
        bits ^= 1 << place
    return bits.to_bytes(BITS // 8)


def _event(frame: FrameReference, place: int, text: str) -> MatchEvent:
    words = text.split(" ")
    name, _, picture = words[0].partition("@")
    product = name.rstrip("?-")
    numbers = [float(word) for word in words[1:] if not word.startswith("q")]
    qualities = [float(word[1:]) for word in words[1:] if word.startswith("q")]
    score = numbers[0] if numbers else 0.8 if name.rstrip("-") == name != "" else 0.7
    kind: DecisionKind = "unknown" if not name.rstrip("-") or name.endswith("-") else "match"
    kind = "ambiguous" if name.endswith("?") else kind
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
        quality=qualities[0] if qualities else None,
        sketch=sketch_text(sketch_of(picture)) if picture else None,
    )
