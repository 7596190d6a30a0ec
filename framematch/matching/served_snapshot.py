"""A snapshot as it is served: everything that a frame is decided with, from its preparation to its events."""

from dataclasses import dataclass

from framematch.catalog.snapshot import SnapshotManifest
from framematch.core.events import ModelInfo
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor


@dataclass(frozen=True, eq=False)
class ServedSnapshot:
    """An opened snapshot with the model that it needs. A frame belongs to one, so that nothing mixes two.

    `delta` is the number of the last change of the catalogue that is served with the snapshot; 0 without any.
    """

    manifest: SnapshotManifest
    delta: int
    model: ModelInfo
    preprocessor: Preprocessor
    encoder: ImageEncoder
    matcher: Matcher
