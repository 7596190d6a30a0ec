"""What an operator wants to know about snapshots: all of them, their names, and which processes serve them."""

from collections.abc import Sequence
from dataclasses import dataclass

from framematch.catalog.changes.delta_log import newest_number
from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.listing import StoredSnapshot, list_snapshots
from framematch.catalog.snapshots.names import SnapshotNames, read_names
from framematch.catalog.snapshots.serving_status import ServingStatus, read_statuses
from framematch.core.errors import CatalogError


@dataclass(frozen=True)
class SnapshotServing:
    """What the running processes do with one snapshot."""

    processes: int
    serving: tuple[ServingStatus, ...]
    as_shadow: tuple[ServingStatus, ...]
    refusing: tuple[ServingStatus, ...]

    @property
    def stale_cameras(self) -> tuple[str, ...]:
        """The cameras whose similarities are not those that the snapshot was calibrated by, by id."""
        return tuple(sorted({camera for status in self.serving for camera in status.stale_cameras}))


@dataclass(frozen=True)
class Overview:
    """All snapshots, the newest first, and what was known of them at one moment.

    `names_error` says why the names could not be read; then there are none. `newest_change` is the number of the last
    single change of the catalogue.
    """

    snapshots: tuple[StoredSnapshot, ...]
    names: SnapshotNames
    names_error: CatalogError | None
    statuses: tuple[ServingStatus, ...]
    newest_change: int

    def changes_since(self, snapshot: StoredSnapshot) -> int:
        """How many single changes of the catalogue are newer than the snapshot."""
        return max(0, self.newest_change - snapshot.manifest.delta) if snapshot.manifest else 0

    def serving(self, snapshot_id: str) -> SnapshotServing:
        """What the running processes do with this snapshot."""
        return serving_of(self.statuses, snapshot_id)


async def read_overview(database: Database) -> Overview:
    """Read everything that commands show.

    Raises:
        CatalogError: the newest change of the catalogue is damaged.
        MongoUnavailableError: MongoDB became unavailable.
    """
    names, names_error = SnapshotNames(), None
    try:
        names = await read_names(database)
    except CatalogError as error:
        names_error = error
    return Overview(
        snapshots=tuple(await list_snapshots(database)),
        names=names,
        names_error=names_error,
        statuses=tuple(await read_statuses(database)),
        newest_change=await newest_number(database),
    )


def serving_of(statuses: Sequence[ServingStatus], snapshot_id: str, *, since_version: int = 0) -> SnapshotServing:
    """What these processes do with a snapshot; only refusals by processes that know this version of the names."""
    return SnapshotServing(
        processes=len(statuses),
        serving=tuple(status for status in statuses if status.snapshot == snapshot_id),
        as_shadow=tuple(status for status in statuses if status.shadow == snapshot_id),
        refusing=tuple(
            status
            for status in statuses
            if status.refused and status.refused.snapshot == snapshot_id and status.names_version >= since_version
        ),
    )
