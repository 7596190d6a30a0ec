"""A region that the active snapshot has decided, with what the shadow needs to decide it too."""

from dataclasses import dataclass
from enum import Enum, auto

from consumers.shadow.comparisons import Pair
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.frames import Frame, Region
from framematch.matching.decision import Decision
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.matching.shadow.counts import Cost


class Needs(Enum):
    """What the shadow decides a region from: as much as it shares with the active snapshot is used again."""

    EMBEDDING = auto()
    CROP = auto()
    JPEG = auto()

    @classmethod
    def of(cls, active: ServedSnapshot, shadow: ServedSnapshot) -> "Needs":
        """The embedding of the same model and preprocessing, the crop of the same preprocessing, else the frame."""
        if active.preprocessor.digest != shadow.preprocessor.digest:
            return cls.JPEG
        return cls.EMBEDDING if active.model.digest == shadow.model.digest else cls.CROP


@dataclass(frozen=True, eq=False)
class OfferedRegion:
    """A region with the active snapshot's decision, what that took, and what the shadow needs of it.

    That is the embedding [D], the crop as the active model takes it, or the JPEG of the whole frame.
    """

    pair: Pair
    shadow: ServedSnapshot
    frame: Frame
    box: Region
    decision: Decision
    cost: Cost
    needs: Needs
    embedding: Embeddings | None = None
    crop: Pixels | None = None
    jpeg: bytes | None = None

    def fits(self, other: "OfferedRegion") -> bool:
        """Whether both can be in one batch."""
        return self.shadow is other.shadow and self.needs is other.needs and self.pair == other.pair

    @property
    def size_bytes(self) -> int:
        """The memory that it keeps."""
        arrays = sum(array.nbytes for array in (self.embedding, self.crop) if array is not None)
        return arrays + len(self.jpeg or b"")
