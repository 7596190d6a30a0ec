"""What a region of a frame shows, and whether it is the same as before: by its place and its picture. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from framematch.core.events import MatchEvent
from framematch.core.frames import Region
from framematch.matching.sketch import estimated_cosine, sketch_number

SAME_IN_PLACE: Final = 0.8
"""The least cosine of two pictures of one thing that is where it was."""
SAME_ELSEWHERE: Final = 0.9
"""The least cosine of two pictures of one thing that has moved to another place."""
_MIN_OVERLAP = 0.3
_CLEARNESS = ("unknown", "ambiguous", "match")


@dataclass(frozen=True, slots=True)
class View:
    """A region of a frame, and the sketch of its picture; None where it has none."""

    region: Region
    sketch: int | None

    def in_place(self, other: "View") -> bool:
        """Whether both are at the same place of the picture: a third of what either covers is covered by both."""
        return self.region == other.region or _overlap(self.region, other.region) >= _MIN_OVERLAP

    def similarity(self, other: "View") -> float | None:
        """The estimated cosine of both pictures; None where one has no sketch."""
        if self.sketch is None or other.sketch is None:
            return None
        return estimated_cosine(self.sketch, other.sketch)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a region of a frame shows; `number` is that of its event among all of the frame.

    `product` is the one that matched, or is nearest in an ambiguous decision; None when unknown.
    """

    number: int
    event: MatchEvent
    view: View
    product: str | None

    @classmethod
    def by(cls, events: Iterable[MatchEvent]) -> list[Self]:
        """What the events of a frame show."""
        return [
            cls(number, event, View(event.region, sketch_number(event.sketch)), shown_product(event))
            for number, event in enumerate(events)
        ]

    @property
    def matched(self) -> bool:
        """Whether the decision is a match."""
        return self.event.product is not None

    @property
    def is_a_thing(self) -> bool:
        """Whether a model was asked, and did not find the camera's empty scene."""
        return bool(self.event.candidates) and self.event.reason != "empty"


def shown_product(event: MatchEvent) -> str | None:
    """Id of the product that matched, or is nearest in an ambiguous decision; None when unknown."""
    if event.product is not None:
        return event.product.id
    return event.candidates[0].product_id if event.decision == "ambiguous" and event.candidates else None


def clearest(shown: Sequence[Shown]) -> Shown:
    """A match before an ambiguous decision before an unknown one, then the highest score; of equal ones the first."""
    if len(shown) == 1:
        return shown[0]
    return max(shown, key=lambda one: (_CLEARNESS.index(one.event.decision), one.event.score or 0.0))


def nearest(view: View, before: Iterable[View], *, in_place: bool = False) -> float | None:
    """The highest similarity to any of the views before, with `in_place` of those at its place; None without one."""
    highest = None
    for other in before:
        if in_place and not view.in_place(other):
            continue
        similarity = view.similarity(other)
        if similarity is not None and (highest is None or similarity > highest):
            highest = similarity
    return highest


def _overlap(one: Region, other: Region) -> float:
    """The intersection of two boxes in relation to their union."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[0] + one[2], other[0] + other[2]), min(one[1] + one[3], other[1] + other[3])
    common = max(0, right - left) * max(0, bottom - top)
    union = one[2] * one[3] + other[2] * other[3] - common
    return common / union if union else 0.0
