"""From a record to the crops that the model takes, or to why there are none. Computes: called in threads."""

from collections.abc import Mapping
from dataclasses import dataclass

from consumers.stages.decode import clip_regions, cut, read_jpeg
from consumers.work import Work
from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame, parse_frame
from framematch.core.settings import AgeSettings, ConsumerSettings
from framematch.core.timestamps import now_us
from framematch.vision.preprocess import Preprocessor

_US_PER_S = 1_000_000


@dataclass(frozen=True)
class AgeLimits:
    """How old a frame may be when work on it begins, for all cameras and for some of them."""

    default: AgeSettings
    cameras: Mapping[str, AgeSettings]

    @classmethod
    def of(cls, settings: ConsumerSettings) -> "AgeLimits":
        """The limits that the settings name; what a camera leaves out is as for all."""
        default = AgeSettings(max_age_s=settings.max_age_s, max_replay_age_s=settings.max_replay_age_s)
        return cls(default, settings.cameras)

    def reason_to_skip(self, frame: Frame, at_us: int) -> str | None:
        """`age`, or `replay` for a frame that has waited on the edge's disk; None when it is young enough."""
        own = self.cameras.get(frame.camera, self.default)
        if frame.replayed:
            limit_s, reason = _first(own.max_replay_age_s, self.default.max_replay_age_s), "replay"
        else:
            limit_s, reason = _first(own.max_age_s, self.default.max_age_s), "age"
        too_old = limit_s is not None and at_us - frame.arrived_at_us > limit_s * _US_PER_S
        return reason if too_old else None


class Preparer:
    """Reads headers, skips what is too old, decodes, cuts regions, and scales them for the model."""

    def __init__(self, preprocessor: Preprocessor, ages: AgeLimits, *, max_pixels: int, max_regions: int) -> None:
        self._preprocessor = preprocessor
        self._ages = ages
        self._max_pixels = max_pixels
        self._max_regions = max_regions

    def prepare(self, work: Work) -> None:
        """Fill in frame, regions and crops; or `skipped`; or `bad`, whatever the bytes are."""
        with work.timed("decode"):
            try:
                work.frame = parse_frame(work.record.key, work.record.headers)
                work.skipped = self._ages.reason_to_skip(work.frame, now_us())
                if not work.skipped:
                    self._cut(work, work.frame)
            except BadFrameError as error:
                work.bad = error

    def _cut(self, work: Work, frame: Frame) -> None:
        """Decode the picture and cut its regions.

        Raises:
            BadFrameError: it is no picture, or too much of one.
        """
        if len(frame.regions) > self._max_regions:
            raise BadFrameError(
                "too_many_regions", f"{len(frame.regions)} regions, more than the {self._max_regions} allowed"
            )
        jpeg = read_jpeg(work.record.value or b"", max_pixels=self._max_pixels)
        regions = clip_regions(jpeg.width, jpeg.height, frame.regions)
        # A region that is scaled down much needs no full picture.
        reduction = min(self._preprocessor.reduction(height, width) for _, _, width, height in regions)
        picture = jpeg.decode(reduction)
        work.crops = tuple(self._preprocessor(cut(picture, region, reduction)) for region in regions)
        work.regions = regions


def _first(own_s: float | None, default_s: float | None) -> float | None:
    return default_s if own_s is None else own_s
