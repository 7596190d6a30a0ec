"""From a record to the crops that the model takes, or to the reason why there are none. CPU-bound: runs in threads."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consumers.in_flight_frame import InFlightFrame, Rejected, Skipped
from consumers.stages.decode import FrameJpeg, clip_regions, read_jpeg
from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame, Region, parse_frame
from framematch.core.settings import AgeSettings, ConsumerSettings
from framematch.core.timestamps import now_us
from framematch.core.units import US_PER_S
from framematch.matching.gate import MeasuredCrop, PictureGate
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.pictures.regions import cut
from framematch.vision.preprocess import Preprocessor
from framematch.vision.region_rows import RegionRow, reduction_for


@dataclass(frozen=True)
class AgeLimits:
    """How old a frame may be when it is prepared: the default, and exceptions by camera."""

    default: AgeSettings
    cameras: Mapping[str, AgeSettings]

    @classmethod
    def of(cls, settings: ConsumerSettings) -> "AgeLimits":
        """The limits from the settings; what a camera does not set has the default."""
        default = AgeSettings(max_age_s=settings.max_age_s, max_replay_age_s=settings.max_replay_age_s)
        return cls(default, settings.cameras)

    def reason_to_skip(self, frame: Frame, at_us: int) -> str | None:
        """`age`, or `replay` for a frame that was spooled on the edge's disk; None when it is young enough."""
        own = self.cameras.get(frame.camera, self.default)
        if frame.replayed:
            limit_s, reason = _first(own.max_replay_age_s, self.default.max_replay_age_s), "replay"
        else:
            limit_s, reason = _first(own.max_age_s, self.default.max_age_s), "age"
        too_old = limit_s is not None and at_us - frame.arrived_at_us > limit_s * US_PER_S
        return reason if too_old else None


class Preparer:
    """Reads headers, skips frames that are too old, decodes, crops regions, and scales them for the model.

    A region that does not pass the `gate` is decided here: it is unknown, and no model is asked. Without a gate only
    headers are read, and the JPEG is left to Triton.
    """

    def __init__(self, ages: AgeLimits, *, max_pixels: int, max_regions: int, gate: PictureGate | None) -> None:
        self._ages = ages
        self._gate = gate
        self._max_pixels = max_pixels
        self._max_regions = max_regions

    def prepare(self, frame: InFlightFrame, served: ServedSnapshot) -> None:
        """Set header, regions, crops or rows for `served`, and the decisions for regions that the gate refuses.

        Or set the outcome: `Skipped`, or `Rejected` if the bytes are not a frame.
        """
        start_ns = time.time_ns()
        frame.served = served
        try:
            frame.header = parse_frame(frame.record.key, frame.record.headers)
            if reason := self._ages.reason_to_skip(frame.header, now_us()):
                frame.outcome = Skipped(reason)
            else:
                self._read_picture(frame, frame.header, served.preprocessor)
        except BadFrameError as error:
            # Its traceback refers to this call, and so to the frame: only the garbage collector would free it.
            frame.outcome = Rejected("decode", error.with_traceback(None))
        frame.spans["decode"] = (start_ns, time.time_ns())

    def _read_picture(self, frame: InFlightFrame, header: Frame, preprocessor: Preprocessor) -> None:
        """Set the frame's regions and what the model takes; BadFrameError if it has no picture, or is beyond limits."""
        if len(header.regions) > self._max_regions:
            raise BadFrameError(
                "too_many_regions", f"{len(header.regions)} regions, more than the {self._max_regions} allowed"
            )
        jpeg = read_jpeg(frame.record.value or b"", max_pixels=self._max_pixels)
        regions = clip_regions(jpeg.width, jpeg.height, header.regions)
        if self._gate is None:
            reduction = reduction_for(preprocessor, regions)
            frame.rows = tuple(RegionRow(jpeg.data, region, reduction) for region in regions)
            frame.regions = regions
        else:
            frame.crops = crop_regions(jpeg, regions, preprocessor)
            frame.regions = regions
            _decide_by_picture(frame, self._gate)


def _decide_by_picture(frame: InFlightFrame, gate: PictureGate) -> None:
    """Measure each crop of a frame, and decide those that the gate refuses."""
    measured = [MeasuredCrop.of(crop, region) for crop, region in zip(frame.crops, frame.regions, strict=True)]
    frame.qualities = {number: crop.quality for number, crop in enumerate(measured)}
    for number, crop in enumerate(measured):
        if (decision := gate.decide(crop)) is not None:
            frame.decide(number, decision)


def crop_regions(jpeg: FrameJpeg, regions: Sequence[Region], preprocessor: Preprocessor) -> tuple[Pixels, ...]:
    """Decode the picture, and crop and scale each region for the model.

    Raises:
        BadFrameError: `truncated` or `undecodable`.
    """
    # A region that is scaled down much needs no full picture.
    reduction = reduction_for(preprocessor, regions)
    picture = jpeg.decode(reduction)
    return tuple(preprocessor(cut(picture, region, reduction)) for region in regions)


def _first(own_s: float | None, default_s: float | None) -> float | None:
    return default_s if own_s is None else own_s
