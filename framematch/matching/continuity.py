"""Whether a region of a frame shows the same thing as a region before: by its place and its picture. No I/O."""

from collections.abc import Iterable
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


@dataclass(frozen=True, slots=True)
class View:
    """A region of a frame, and the sketch of its picture; None where it has none."""

    region: Region
    sketch: int | None

    @classmethod
    def of(cls, event: MatchEvent) -> Self:
        """What an event shows."""
        return cls(event.region, sketch_number(event.sketch))

    def in_place(self, other: "View") -> bool:
        """Whether both are at the same place of the picture: a third of what either covers is covered by both."""
        return self.region == other.region or _overlap(self.region, other.region) >= _MIN_OVERLAP

    def similarity(self, other: "View") -> float | None:
        """The estimated cosine of both pictures; None where one has no sketch."""
        if self.sketch is None or other.sketch is None:
            return None
        return estimated_cosine(self.sketch, other.sketch)


def nearest(view: View, before: Iterable[View], *, in_place: bool = False) -> float | None:
    """The highest similarity to any of the views before, with `in_place` of those at its place; None without one."""
    found = (view.similarity(other) for other in before if not in_place or view.in_place(other))
    return max((similarity for similarity in found if similarity is not None), default=None)


def _overlap(one: Region, other: Region) -> float:
    """The intersection of two boxes in relation to their union."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[0] + one[2], other[0] + other[2]), min(one[1] + one[3], other[1] + other[3])
    common = max(0, right - left) * max(0, bottom - top)
    union = one[2] * one[3] + other[2] * other[3] - common
    return common / union if union else 0.0
