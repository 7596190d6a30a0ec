"""The operation `build`: an index snapshot of all products."""

from typing import Any

from framematch.api.operations.work import Work
from framematch.catalog.building.build import BuildReport
from framematch.catalog.building.served_build import ServedBuild, build_served
from framematch.catalog.snapshots.empty_frames import explain
from framematch.core.paths import state_dir
from framematch.matching.calibrate_snapshot import BuildCalibration


async def build_index(work: Work) -> dict[str, Any]:
    """Build and store a snapshot, and make it the active one if that was asked for.

    Raises:
        CatalogError: the catalogue is empty, or a picture is damaged.
        ModelError: Triton does not serve the model.
        UnavailableError: MongoDB, Triton or the storage became unavailable.
    """
    work.meter.unit = "pictures"
    parameters, report = work.parameters, BuildReport()
    calibrate = BuildCalibration(work.settings, work.database)
    wanted = ServedBuild(
        parameters["preprocessing"], parameters.get("model"), parameters["activate"], report, calibrate
    )
    manifest, active = await build_served(
        work.settings, work.database, state_dir() / "snapshots", wanted, work.meter.report
    )
    return {
        "snapshot": manifest.id,
        "active": active,
        "products": manifest.products,
        "rows": manifest.rows,
        "pictures": report.pictures,
        "new_pictures": report.new_pictures,
        "calibration": calibrate.said or None,
        "warning": explain(manifest.empty_frames) or None,
    }
