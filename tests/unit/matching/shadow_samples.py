"""Decisions and comparisons for the tests about shadow snapshots."""

from collections.abc import Iterable

from framematch.matching.decision import Candidate, Decision
from framematch.matching.shadow.comparison import ComparedRegion, Comparison
from framematch.matching.shadow.report import ShadowReport

UNKNOWN = Decision("unknown", 0.3, 0.1, (Candidate("milk", 0.3), Candidate("oats", 0.2)), "below_threshold")
AMBIGUOUS = Decision("ambiguous", 0.8, 0.0, (Candidate("milk", 0.8), Candidate("oats", 0.8)), "tie")
MINUTE_US = 60_000_000


def match(product: str, score: float = 0.9) -> Decision:
    """A match with this product."""
    return Decision("match", score, 0.2, (Candidate(product, score), Candidate("other", score - 0.2)))


def region(
    active: Decision, shadow: Decision, *, camera: str = "till-1", minute: int = 0, frame: int = 0
) -> ComparedRegion:
    """A region of the frame with this number in a minute."""
    return ComparedRegion(camera, f"{camera}-{minute}-{frame}", minute * MINUTE_US + frame, active, shadow)


def compared(regions: Iterable[ComparedRegion]) -> Comparison:
    """A comparison of these regions."""
    comparison = Comparison()
    for own in regions:
        comparison.add(own)
    return comparison


def report_of(minutes: int, *, regions: int = 10, changed: int = 0, dropped: int = 0) -> ShadowReport:
    """A report on so many camera-minutes with so many regions each; in the first `changed` minutes all are lost."""
    comparison = compared(
        region(match("milk"), UNKNOWN if minute < changed else match("milk"), minute=minute, frame=frame)
        for minute in range(minutes)
        for frame in range(regions)
    )
    comparison.dropped = dropped
    return ShadowReport("a", "b", comparison.counts())
