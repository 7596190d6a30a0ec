"""Pairs what was published of frames with what they give when they are decided again. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from consumers.in_flight_frame import Decided, InFlightFrame
from framematch.core.events import MATCH_SCHEMA, DecisionKind, MatchEvent, similarity
from framematch.core.frames import Region
from framematch.core.ids import match_event_id
from framematch.core.timestamps import from_rfc3339, to_rfc3339
from framematch.matching.shadow.comparison import product_of

Missing = Literal["not_processed", "no_output"]
"""No event of the frame was published: yet, as none of a later frame is; or at all: a dead letter, or skipped."""


@dataclass(frozen=True, slots=True)
class Place:
    """A frame, and the coordinates of its record. `captured_at` is RFC 3339, `arrived_at_us` by the edge's clock."""

    id: str
    camera: str
    captured_at: str
    arrived_at_us: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision for one region, published or replayed; `id` is that of its match event.

    `product` is that of a match, `nearest` the first candidate of any decision. `reused`: the decision was made for an
    earlier frame that looked the same.
    """

    id: str
    frame: Place
    region: Region
    decision: DecisionKind
    product: str | None
    nearest: str | None
    score: float | None
    snapshot: str
    delta: int
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """Both answers for a region."""

    published: Answer
    replayed: Answer

    @property
    def changed(self) -> bool:
        """Whether decision or product differ."""
        one, other = self.published, self.replayed
        return (one.decision, one.product) != (other.decision, other.product)


@dataclass(frozen=True, slots=True)
class OnlyReplayed:
    """A region without a published event."""

    replayed: Answer
    reason: Missing


@dataclass(frozen=True, slots=True)
class OnlyPublished:
    """A published event of a frame that cannot be decided again: its bytes are no frame, or give no embedding."""

    published: Answer


Found = Pair | OnlyReplayed | OnlyPublished


def replayed_answers(frame: InFlightFrame) -> list[Answer]:
    """What a frame gives now, one answer for each region, with the ids of its events; none when it was not decided."""
    if frame.header is None or frame.served is None or not isinstance(frame.outcome, Decided):
        return []
    header, served, record = frame.header, frame.served, frame.record
    place = Place(
        id=header.id,
        camera=header.camera,
        captured_at=to_rfc3339(header.captured_at_us),
        arrived_at_us=header.arrived_at_us,
        partition=record.partition,
        offset=record.offset,
    )
    answers = []
    for region, decision in zip(frame.regions, frame.outcome.decisions, strict=True):
        answers.append(
            Answer(
                id=match_event_id(header.id, region, MATCH_SCHEMA),
                frame=place,
                region=region,
                decision=decision.kind,
                product=product_of(decision),
                nearest=decision.candidates[0].product_id if decision.candidates else None,
                score=None if decision.score is None else similarity(decision.score),
                snapshot=served.manifest.id,
                delta=served.delta,
            )
        )
    return answers


def published_answer(event: MatchEvent) -> Answer:
    """What a match event says."""
    frame = event.frame
    return Answer(
        id=event.id,
        frame=Place(
            id=frame.id,
            camera=frame.camera,
            captured_at=frame.captured_at,
            arrived_at_us=from_rfc3339(frame.arrived_at),
            partition=frame.partition,
            offset=frame.offset,
        ),
        region=event.region,
        decision=event.decision,
        product=event.product.id if event.product else None,
        nearest=event.candidates[0].product_id if event.candidates else None,
        score=event.score,
        snapshot=event.snapshot,
        delta=event.delta,
        reused=event.reused_from is not None,
    )


class Pairing:
    """Pairs the answers of one partition of frames, in whatever order they come; an answer waits for its other half.

    Events are published about in the order of their frames, so few answers wait. An event that was published twice
    counts once: with its first answer, as subscribers drop the second.
    """

    def __init__(self, first_offset: int) -> None:
        self._replayed: dict[str, Answer] = {}
        self._published: dict[str, Answer] = {}  # of frames that were not read yet
        self._undecided: set[int] = set()
        self._only_published: set[str] = set()
        self.read_below = first_offset
        """Frames with smaller offsets were read."""
        self.published_below = first_offset
        """An event of a frame before this offset was published: `not_processed` are those from here on."""

    @property
    def waiting(self) -> int:
        """Replayed answers without a published event."""
        return len(self._replayed)

    def add_replayed(self, answers: Iterable[Answer]) -> list[Found]:
        """Add what a frame gives now."""
        found: list[Found] = []
        for answer in answers:
            if published := self._published.pop(answer.id, None):
                found.append(Pair(published, answer))
            else:
                self._replayed[answer.id] = answer
        return found

    def add_undecided(self, offset: int) -> None:
        """Add a frame of the range that cannot be decided."""
        self._undecided.add(offset)

    def add_published(self, answer: Answer) -> list[Found]:
        """Add an event of any frame of the partition."""
        offset = answer.frame.offset
        self.published_below = max(self.published_below, offset + 1)
        if replayed := self._replayed.pop(answer.id, None):
            return [Pair(answer, replayed)]
        if offset >= self.read_below:
            self._published.setdefault(answer.id, answer)
            return []
        return self._alone(answer)  # or of a frame that does not belong to the range, or published before

    def read_to(self, offset: int) -> list[Found]:
        """All frames below `offset` were added, if they belong to the range."""
        self.read_below = offset
        passed = [answer for answer in self._published.values() if answer.frame.offset < offset]
        for answer in passed:
            del self._published[answer.id]
        return [found for answer in passed for found in self._alone(answer)]

    def finish(self) -> Sequence[Found]:
        """All frames and events were added: the answers that still wait have no published event."""
        waiting, self._replayed = self._replayed.values(), {}
        return [OnlyReplayed(answer, self._reason(answer)) for answer in waiting]

    def _alone(self, answer: Answer) -> list[Found]:
        """The event of a frame that was read, and that gives no such answer."""
        if answer.frame.offset not in self._undecided or answer.id in self._only_published:
            return []
        self._only_published.add(answer.id)
        return [OnlyPublished(answer)]

    def _reason(self, answer: Answer) -> Missing:
        return "no_output" if answer.frame.offset < self.published_below else "not_processed"
