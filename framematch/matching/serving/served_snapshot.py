"""A snapshot as it is served: everything that a frame is decided with, from its preparation to its events."""

from dataclasses import dataclass
from functools import cached_property

from framematch.catalog.changes.delta import Delta
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.core.events import ModelInfo
from framematch.matching.matcher import Matcher
from framematch.matching.votes import VoteRules
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor


@dataclass(frozen=True, eq=False)
class ServedSnapshot:
    """An opened snapshot with the model that it needs. A frame belongs to one, so that nothing mixes two.

    `changes` are those of single products since it was built.
    """

    manifest: SnapshotManifest
    changes: Delta
    model: ModelInfo
    preprocessor: Preprocessor
    encoder: ImageEncoder
    matcher: Matcher

    @property
    def delta(self) -> int:
        """The number of the newest change that is served, also if the snapshot itself contains it; 0 before any."""
        return self.changes.number

    @cached_property
    def vote_rules(self) -> VoteRules:
        """How its decisions vote for the product of a sighting."""
        return VoteRules.of(self.matcher.thresholds.margin, self.manifest.calibration)
