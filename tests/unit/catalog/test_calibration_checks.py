"""A calibration from outside is refused when its numbers cannot be."""

import math
from dataclasses import replace
from typing import Any

import pytest

from framematch.catalog.snapshots.calibration import (
    Calibration,
    CategoryThreshold,
    CurvePoint,
    Share,
    SightingThresholds,
    SourceRate,
)
from framematch.catalog.snapshots.calibration_checks import problem
from framematch.catalog.snapshots.snapshot import check_manifest
from framematch.core.errors import CatalogError
from tests.unit.catalog.snapshots import make_snapshot, unit_rows

SHARE = Share(1, 20, 0.001, 0.25)
SOURCE = SourceRate("unseen", 0.7, SHARE, 0.9)
GOOD = Calibration(
    at="2026-01-01T00:00:00Z",
    rate=0.05,
    mixup_rate=0.05,
    guarantee=None,
    samples=60,
    products=3,
    sources=(SOURCE, SourceRate("nothing", None, Share(0, 0, 0, 1), None, 19)),
    mixups=SHARE,
    ambiguous=SHARE,
    refused=SHARE,
    holds_truth=Share(0, 0, 0, 1),
    curve=(CurvePoint(0.5, 0.3, 0.0), CurvePoint(0.7, 0.05, 0.1)),
    categories=(CategoryThreshold("fruit", 0.6, 100),),
    sightings=SightingThresholds(2.5, 0.5, SHARE),
)


def test_a_calibration_as_it_is_made_is_accepted() -> None:
    assert problem(GOOD) is None


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("at", "yesterday"),
        ("rate", math.nan),
        ("rate", 1.0),
        ("mixup_rate", 0.0),
        ("guarantee", 1.5),
        ("samples", 0),
        ("products", -1),
        ("views", 61),
        ("sources", (SOURCE, SOURCE)),
        ("mixups", Share(3, 2, 0, 1)),
        ("ambiguous", Share(1, 2, 0.6, 0.5)),
        ("refused", Share(1, 2, math.nan, 1)),
        ("holds_truth", Share(-1, 2, 0, 1)),
        ("curve", (CurvePoint(0.5, 0.1, 0.1), CurvePoint(0.6, 0.2, 0.1))),
        ("curve", (CurvePoint(0.5, 0.1, 0.2), CurvePoint(0.6, 0.1, 0.1))),
        ("curve", (CurvePoint(0.5, 0.1, 0.1), CurvePoint(0.5, 0.1, 0.1))),
        ("curve", (CurvePoint(math.nan, 0.1, 0.1),)),
        ("curve", tuple(CurvePoint(number / 1001, 0.1, 0.1) for number in range(1001))),
        ("categories", (CategoryThreshold("fruit", 1.1, 100),)),
        ("categories", GOOD.categories * 2),
        ("sightings", SightingThresholds(math.inf, 0.5, SHARE)),
        ("sightings", SightingThresholds(2.5, -0.5, SHARE)),
    ],
)
def test_numbers_that_cannot_be_are_named(field: str, wrong: Any) -> None:
    assert problem(replace(GOOD, **{field: wrong})) == field


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("threshold", replace(SOURCE, threshold=0.0)),
        ("threshold", replace(SOURCE, threshold=None)),
        ("threshold", replace(SOURCE, missing=3)),
        ("accepted", replace(SOURCE, accepted=Share(2, 1, 0, 1))),
        ("auroc", replace(SOURCE, auroc=math.nan)),
    ],
)
def test_numbers_of_a_source_that_cannot_be_are_named(field: str, wrong: SourceRate) -> None:
    assert problem(replace(GOOD, sources=(wrong,))) == f"unseen.{field}"


def test_a_manifest_with_such_a_calibration_is_refused_by_name() -> None:
    manifest = replace(make_snapshot(unit_rows(2), ["a", "b"]).manifest, calibration=GOOD)
    check_manifest(manifest)
    with pytest.raises(CatalogError, match="a calibration whose rate cannot be"):
        check_manifest(replace(manifest, calibration=replace(GOOD, rate=2.0)))
