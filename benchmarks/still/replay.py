"""Goes through frames as a consumer with `StaticSceneCache` would: pure, from frames to what was saved and lost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from benchmarks.still.feeds import SeenFrame
from consumers.stages.scene_cache import StaticSceneCache, difference
from framematch.matching.decision import Decision

_WHOLE = (0, 0, 640, 360)
_TOP = 5


@dataclass(frozen=True)
class Outcome:
    """Shares of 1. `changed` is of frames whose decision is another than their own would have been.

    `top1` and `top5` are over frames with a product in full view, `empty_taken` over empty ones (taken for a product).
    """

    saved: float
    changed: float
    top1: float
    top5: float
    empty_taken: float


def replay(frames: Sequence[SeenFrame], *, threshold: int, max_age_s: float) -> Outcome:
    """What becomes of the frames of one camera, in their order."""
    scenes: StaticSceneCache[Decision] = StaticSceneCache(max_difference=threshold, max_age_s=max_age_s)
    reused = [scenes.lookup("one", _WHOLE, frame.signature, frame.at_us, frame.decision) for frame in frames]
    return outcome(frames, reused)


def outcome(frames: Sequence[SeenFrame], reused: Sequence[Decision | None]) -> Outcome:
    """The figures of `frames` where each has a reused decision, or its own for None."""
    given = [(frame, frame.decision if other is None else other) for frame, other in zip(frames, reused, strict=True)]
    shown = [(frame.product, decision) for frame, decision in given if frame.product is not None]
    empty = [decision for frame, decision in given if frame.product is None and not frame.moving]
    return Outcome(
        saved=_share(other is not None for other in reused),
        changed=_share(_says(frame.decision) != _says(decision) for frame, decision in given),
        top1=_share(product in _best(decision, 1) for product, decision in shown),
        top5=_share(product in _best(decision, _TOP) for product, decision in shown),
        empty_taken=_share(decision.kind == "match" for decision in empty),
    )


def least_difference(frames: Iterable[SeenFrame]) -> int:
    """Between two frames that show different products: how far the threshold is from taking one for the other."""
    shown = [frame for frame in frames if frame.product is not None]
    return min(
        difference(one.signature, other.signature)
        for one, other in combinations(shown, 2)
        if one.product != other.product
    )


def _says(decision: Decision) -> tuple[str, str | None]:
    """What a subscriber goes by: the kind, and for a match the product."""
    return decision.kind, decision.candidates[0].product_id if decision.kind == "match" else None


def _best(decision: Decision, k: int) -> set[str]:
    return {candidate.product_id for candidate in decision.candidates[:k]}


def _share(outcomes: Iterable[bool]) -> float:
    found = list(outcomes)
    return sum(found) / len(found) if found else 0.0
