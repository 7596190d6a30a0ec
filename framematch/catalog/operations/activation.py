"""Changes which snapshots are named, after checking that they can be served."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from framematch.catalog.changes.delta import DELTA_ROWS_MAX, Delta
from framematch.catalog.changes.delta_log import read_entries
from framematch.catalog.changes.needed_spaces import space_of
from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.names import SnapshotNames, expect_active, read_names, repair_names, write_names
from framematch.catalog.snapshots.snapshot import REBUILD_HINT, SnapshotManifest, check_recall
from framematch.catalog.snapshots.store import load_manifest
from framematch.core.errors import CatalogError


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
    database: Database,
    change: Callable[[SnapshotNames], SnapshotNames],
    *,
    expect: str | None = None,
    check: Callable[[NamesChange], Awaitable[None]] | None = None,
) -> NamesChange:
    """Apply `change` to the names, if nobody changes them at the same time. `check` may refuse it.

    Raises:
        CatalogError: a snapshot that gets a name is unknown, or cannot have it; or `change` or `check` refuses.
        StaleNamesError: `expect` is not active, or somebody changed the names at the same time.
        MongoUnavailableError: MongoDB became unavailable; the names may have been changed.
    """
    before = await read_names(database)
    expect_active(before, expect)
    after = change(before)
    if check is not None:  # it also embeds changes that a snapshot of another model lacks
        await check(NamesChange(before, after))
    if after.active is not None and after.active != before.active:
        await _check_servable(database, after.active)
    if after.shadow is not None and after.shadow != before.shadow:
        await _check_servable(database, after.shadow)
    return NamesChange(before, await write_names(database, before, after))


async def _check_servable(database: Database, snapshot_id: str) -> None:
    """Refuse a snapshot that no process would serve."""
    manifest = await load_manifest(database, snapshot_id)
    check_recall(manifest)
    await _check_changes(database, manifest)


async def _check_changes(database: Database, manifest: SnapshotManifest) -> None:
    """Refuse a snapshot when too much has changed since it was built."""
    rows = (await read_changes(database, manifest)).rows
    if rows > DELTA_ROWS_MAX:
        raise CatalogError(
            f"snapshot {manifest.id} is too old: {rows} pictures and removals have changed since it was built, and at "
            f"most {DELTA_ROWS_MAX} can be searched beside a snapshot",
            hint=REBUILD_HINT,
        )


async def read_changes(database: Database, manifest: SnapshotManifest) -> Delta:
    """The changes of products since the snapshot was built.

    Raises:
        CatalogError: one is gone, damaged, or has no embeddings of the snapshot's model.
        MongoUnavailableError: MongoDB became unavailable.
    """
    space = space_of(manifest)
    entries = await read_entries(database, after=manifest.delta, space=space.key, dimension=space.dimension)
    return Delta(manifest.delta).with_entries(entries)
