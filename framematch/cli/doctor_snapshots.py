"""The doctor's checks around the active snapshot: later changes, running processes, the previous snapshot, the shadow.

Nothing here keeps a consumer from starting.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from framematch.cli.database import open_database
from framematch.cli.finding import Checked, Finding
from framematch.core.errors import FramematchError, TritonUnavailableError
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.mongo import Database
    from framematch.catalog.snapshots.names import SnapshotNames
    from framematch.catalog.snapshots.serving_status import ServingStatus
    from framematch.catalog.snapshots.snapshot import SnapshotManifest

_FULL_SHARE = 0.8  # of the bound: time for a build
_TRITON_TIMEOUT_S = 3.0


async def check_snapshots(settings: Settings, active: "SnapshotManifest") -> Checked[None]:
    """How full the delta of the active snapshot is, who serves it, and what is wrong with the other named ones."""
    from framematch.catalog.snapshots.names import read_names
    from framematch.catalog.snapshots.serving_status import read_statuses

    async with open_database(settings) as database:
        names = await read_names(database)
        findings = [await _changes(database, active), *process_findings(names, await read_statuses(database))]
        for name, snapshot_id in (("Previous index", names.previous), ("Shadow", names.shadow)):
            if snapshot_id is not None and (error := await _problem(settings, database, snapshot_id)):
                findings.append(Finding(name, None, error.message, error.hint))
    return Checked(findings)


async def _changes(database: "Database", active: "SnapshotManifest") -> Finding:
    from framematch.catalog.changes.delta import DELTA_ROWS_MAX
    from framematch.catalog.operations.activation import read_changes
    from framematch.catalog.snapshots.snapshot import REBUILD_HINT

    rows = (await read_changes(database, active)).rows
    text = f"{rows} of at most {DELTA_ROWS_MAX} pictures and removals since the index was built"
    if rows > _FULL_SHARE * DELTA_ROWS_MAX:
        return Finding("Changes", None, text, REBUILD_HINT)
    return Finding("Changes", True, text)


def process_findings(names: "SnapshotNames", statuses: "list[ServingStatus]") -> Iterator[Finding]:
    """Whether all processes serve what they should, and for which cameras the calibration does not hold."""
    from framematch.catalog.operations.overview import serving_of
    from framematch.cli.snapshots.table import refusal_lines, stale_text

    for part, snapshot_id in (("Processes", names.active), ("Shadow", names.shadow)):
        if snapshot_id is None:
            continue
        serving = serving_of(statuses, snapshot_id)
        refusals = list(refusal_lines(snapshot_id, serving))
        for line in refusals:
            yield Finding(part, None, line, "They try again by themselves; the snapshot before goes on there")
        if part == "Processes" and serving.stale_cameras:
            yield Finding(
                "Calibration", None, stale_text(serving), "Label pictures of them, and calibrate: docs/catalogue.md"
            )
        if part == "Processes" and statuses and not refusals:
            everywhere = len(serving.serving) == len(statuses)
            hint = "" if everywhere else "They change within seconds: see framematch catalog snapshots"
            text = f"{len(serving.serving)} of {len(statuses)} serve {snapshot_id}"
            yield Finding(part, True if everywhere else None, text, hint)


async def _problem(settings: Settings, database: "Database", snapshot_id: str) -> FramematchError | None:
    """Why this snapshot could not be served; None when nothing is wrong that can be seen without loading it."""
    from framematch.catalog.operations.activation import read_changes
    from framematch.catalog.operations.checked_names import check_model_served
    from framematch.catalog.snapshots.store import load_manifest

    try:
        manifest = await load_manifest(database, snapshot_id)
        await read_changes(database, manifest)
        await check_model_served(settings, manifest, timeout_s=_TRITON_TIMEOUT_S)
    except TritonUnavailableError:  # a finding of its own
        return None
    except FramematchError as error:
        return error
    return None
