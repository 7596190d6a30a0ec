"""From the scores of labelled pictures to thresholds and what they state."""

from framematch.matching.calibration.options import Calibrated, CalibrationOptions, TooFew
from framematch.matching.calibration.samples import SampleScores


def calibrate(scores: SampleScores, options: CalibrationOptions) -> Calibrated | TooFew:
    """Thresholds that hold the stated rates, and the rates realised on pictures that they were not made from.

    Of the pictures of one product in one group only one counts, as they are not independent. CPU-bound, pure.

    Raises:
        ValueError: a rate is not between 0 and 1, or a score is not finite.
    """
    raise NotImplementedError
