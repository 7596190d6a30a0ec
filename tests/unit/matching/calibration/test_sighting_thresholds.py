"""Thresholds for the votes of sightings."""

import math

import pytest

from framematch.catalog.snapshots.calibration import SightingThresholds
from framematch.matching.calibration.options import TooFew
from framematch.matching.calibration.sightings import SightingVotes, sighting_thresholds

IMPOSTORS = [SightingVotes(float(number)) for number in range(19)]
KNOWN = [SightingVotes(100.0, 100.0 - number) for number in range(19)]


def test_evidence_and_lead_are_the_conformal_limits() -> None:
    made = sighting_thresholds([*IMPOSTORS, *KNOWN], rate=0.1, mixup_rate=0.1)
    assert isinstance(made, SightingThresholds)
    assert [made.evidence, made.lead] == pytest.approx([17.000001, 17.000001])
    assert made.accepted.pictures == 19
    assert 1 <= made.accepted.hits <= 4


@pytest.mark.parametrize(
    ("sightings", "pictures", "missing"),
    [
        ([*IMPOSTORS[:8], *KNOWN], "impostor sightings", 1),
        ([*IMPOSTORS, *KNOWN[:5]], "known sightings", 4),
        ([*IMPOSTORS, *KNOWN[:9], *[SightingVotes(100.0, -math.inf)] * 10], "voted sightings", 9),
    ],
)
def test_too_few_sightings_are_counted(sightings: list[SightingVotes], pictures: str, missing: int) -> None:
    few = sighting_thresholds(sightings, rate=0.1, mixup_rate=0.1)
    assert isinstance(few, TooFew)
    (shortage,) = few.shortages
    assert (shortage.pictures, shortage.needed - shortage.have) == (pictures, missing)


def test_known_sightings_below_the_evidence_do_not_count() -> None:
    weak = [SightingVotes(1.0, -math.inf)] * 50
    assert sighting_thresholds([*IMPOSTORS, *KNOWN, *weak], rate=0.1, mixup_rate=0.1) == sighting_thresholds(
        [*IMPOSTORS, *KNOWN], rate=0.1, mixup_rate=0.1
    )
