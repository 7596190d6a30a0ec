"""Decides a region by its picture alone when no model needs to be asked: it shows nothing, or too poorly."""

from dataclasses import dataclass, replace
from typing import Final, Self

from framematch.core.arrays import Pixels
from framematch.core.frames import Region
from framematch.core.settings import MatchingSettings
from framematch.matching.decision import NO_CONTENT, Decision
from framematch.vision.content import content_of
from framematch.vision.quality import quality_of

LOW_QUALITY: Final = Decision("unknown", None, None, (), "quality")
"""The decision for a picture that is too blurred, dark or small: it is compared with no product."""


@dataclass(frozen=True)
class MeasuredCrop:
    """What was measured of a region's crop: see `content_of` and `quality_of`."""

    content: float
    quality: float

    @classmethod
    def of(cls, crop: Pixels, region: Region) -> Self:
        """Measure a crop, uint8 [H, W, 3], of a region in pixels of its source. CPU-bound: call it in a thread."""
        return cls(content_of(crop), quality_of(crop, min(region[2:])).value)


@dataclass(frozen=True)
class PictureGate:
    """The least content and quality with which the model is asked; 0: always."""

    min_content: float
    min_quality: float

    @classmethod
    def of(cls, settings: MatchingSettings) -> Self:
        """As set."""
        return cls(settings.min_content, settings.min_quality)

    def decide(self, crop: MeasuredCrop) -> Decision | None:
        """The decision for a crop that the model is not asked about; None when it has to be."""
        if crop.content < self.min_content:
            return replace(NO_CONTENT, quality=crop.quality)
        if crop.quality < self.min_quality:
            return replace(LOW_QUALITY, quality=crop.quality)
        return None
