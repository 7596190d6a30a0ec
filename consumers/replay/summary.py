"""What a replay found, in numbers. No I/O."""

from collections import Counter

from consumers.replay.pairing import Answer, Found, Missing, OnlyPublished, OnlyReplayed, Pair
from framematch.matching.decision import Candidate, Decision
from framematch.matching.shadow.comparison import ComparedRegion, Comparison
from framematch.matching.shadow.report import ShadowReport


class Summary:
    """Counts what is found."""

    def __init__(self) -> None:
        self._comparison = Comparison()
        self.missing: Counter[Missing] = Counter()
        """Regions without a published event."""
        self.only_published = 0
        """Published events of frames that cannot be decided again."""
        self.reused = 0
        """Compared events whose decision was made for an earlier frame that looked the same."""
        self.published_by: Counter[str] = Counter()
        """Compared events by the snapshot that they name."""
        self.changed_decisions = 0
        """Compared events that have another decision or product now."""

        self.largest_shift: float | None = None
        """The largest difference of two compared scores, of either sign; None without any."""

    def add(self, found: Found) -> None:
        """Count one."""
        match found:
            case Pair(published, replayed):
                self._add_shift(published.score, replayed.score)
                self.reused += published.reused
                self.published_by[published.snapshot] += 1
                self.changed_decisions += found.changed
                place = published.frame
                self._comparison.add(
                    ComparedRegion(
                        place.camera, place.id, place.arrived_at_us, _decision(published), _decision(replayed)
                    )
                )
            case OnlyReplayed(reason=reason):
                self.missing[reason] += 1
            case OnlyPublished():
                self.only_published += 1

    def _add_shift(self, published: float | None, replayed: float | None) -> None:
        if published is not None and replayed is not None:
            self.largest_shift = max(self.largest_shift or 0.0, abs(replayed - published))

    def report(self) -> ShadowReport:
        """The comparison, as that of a shadow: published is `active`, replayed is `shadow`."""
        return ShadowReport("published", "replayed", self._comparison.counts())


def _decision(answer: Answer) -> Decision:
    candidates = () if answer.nearest is None else (Candidate(answer.nearest, answer.score or 0.0),)
    return Decision(answer.decision, answer.score, None, candidates)
