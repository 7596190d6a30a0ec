"""Changes which snapshots are named, after checking that they can be served."""

from collections.abc import Callable
from dataclasses import dataclass

from framematch.catalog.mongo import Database
from framematch.catalog.snapshot_names import SnapshotNames, expect_active, read_names, repair_names, write_names
from framematch.catalog.snapshot_store import load_manifest


@dataclass(frozen=True)
class NamesChange:
    """The names before and after a command; equal when there was nothing to change."""

    before: SnapshotNames
    after: SnapshotNames


async def activate(database: Database, snapshot_id: str, *, expect: str | None = None) -> SnapshotNames:
    """Make this the snapshot that all processes serve; the one before becomes the previous one.

    Nothing is written when it is active already. Damaged names are repaired.

    Raises:
        CatalogError: there is no such snapshot, or it cannot be served.
        StaleNamesError: `expect` is not active, or somebody changed the names at the same time.
        MongoUnavailableError: MongoDB became unavailable; the names may have been changed.
    """
    await load_manifest(database, snapshot_id)
    await repair_names(database)
    return (await change_names(database, lambda names: names.with_active(snapshot_id), expect=expect)).after


async def change_names(
    database: Database, change: Callable[[SnapshotNames], SnapshotNames], *, expect: str | None = None
) -> NamesChange:
    """Apply `change` to the names, if nobody changes them at the same time. New names must be of usable snapshots.

    Raises:
        CatalogError: a snapshot that gets a name is unknown or cannot be served; or `change` refuses.
        StaleNamesError: `expect` is not active, or somebody changed the names at the same time.
        MongoUnavailableError: MongoDB became unavailable; the names may have been changed.
    """
    before = await read_names(database)
    expect_active(before, expect)
    after = change(before)
    for snapshot_id in {after.active, after.shadow} - {before.active, before.shadow, None}:
        await load_manifest(database, str(snapshot_id))
    return NamesChange(before, await write_names(database, before, after))
