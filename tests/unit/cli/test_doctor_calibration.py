"""What the doctor says of a calibration."""

from dataclasses import replace
from pathlib import Path

import pytest

from framematch.catalog.snapshots.calibration import Calibration, Share
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.catalog.snapshots.serving_status import ServingStatus
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.cli.doctor_matching import calibration_findings
from framematch.cli.doctor_snapshots import process_findings
from tests.unit.catalog.snapshots import unit_rows, write_snapshot

NONE = Share(0, 1, 0.0, 1.0)
CALIBRATION = Calibration("2026-01-31T12:00:00Z", 0.1, 0.05, None, 500, 10, (), NONE, NONE, NONE, NONE, (), ())


@pytest.fixture
def manifest(tmp_path: Path) -> SnapshotManifest:
    return write_snapshot(tmp_path, unit_rows(3), ["a", "a", "b"])


@pytest.mark.parametrize(("products", "ok"), [(11, True), (12, None)])
def test_a_fifth_more_products_need_another_calibration(
    manifest: SnapshotManifest, products: int, ok: bool | None
) -> None:
    [found] = calibration_findings(replace(manifest, calibration=CALIBRATION), products)
    assert (found.part, found.ok, found.hint) == ("Calibration", ok, "" if ok else "Run framematch catalog calibrate")
    assert found.detail.startswith("of 2026-01-31, with 10 products")


def test_a_snapshot_without_calibration_is_no_finding(manifest: SnapshotManifest) -> None:
    assert calibration_findings(manifest, 1_000) == []


def test_cameras_that_do_not_fit_the_calibration_are_named() -> None:
    status = ServingStatus("1", "host", 7, "consumer", "new", 0, None, 1, stale_cameras=("till-1",))
    found = [one for one in process_findings(SnapshotNames(1, active="new"), [status]) if one.part == "Calibration"]
    assert [(one.ok, one.detail) for one in found] == [(None, "stale for 1 camera: till-1")]
