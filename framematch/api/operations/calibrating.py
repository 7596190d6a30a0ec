"""The operation `calibrate`: a snapshot whose decisions have stated error rates, from the labelled pictures kept."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from framematch.api.operations.work import Work
from framematch.core.paths import state_dir
from framematch.core.progress import OnProgress
from framematch.matching.calibrate_active import CalibrationRequest, Reporting, calibrate_active


async def calibrate_index(work: Work) -> dict[str, Any]:
    """Calibrate the active snapshot, and make the new one the active one if that was asked for.

    Raises:
        CatalogError: no snapshot is active, or the pictures do not suffice, or their labels contradict each other.
        ModelError: Triton does not serve the snapshot's model.
        UnavailableError: MongoDB, Triton or the storage became unavailable.
    """
    work.meter.unit = "pictures"

    def progress(_step: str) -> AbstractContextManager[OnProgress]:
        return nullcontext(work.meter.report)

    request = CalibrationRequest(**work.parameters)
    done = await calibrate_active(work.settings, work.database, state_dir() / "snapshots", request, Reporting(progress))
    return {
        "snapshot": done.manifest.id,
        "active": done.active,
        "thresholds": msgspec.to_builtins(done.manifest.thresholds),
        "pictures": msgspec.to_builtins(done.used),
        "sources": msgspec.to_builtins(done.manifest.calibration.sources if done.manifest.calibration else ()),
    }
