"""Deletes snapshots that no name needs, and what only they needed."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import structlog

from framematch.catalog.changes.delta_log import delete_up_to
from framematch.catalog.changes.needed_spaces import space_of
from framematch.catalog.embeddings.prune import prune_embeddings
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.samples.embedder import kept_name
from framematch.catalog.samples.store import SampleStore
from framematch.catalog.snapshots.build_lease import abandon, clean_up, delete_without_manifest, leased_snapshots
from framematch.catalog.snapshots.names import confirm_names, read_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage import SnapshotStorage
from framematch.catalog.snapshots.store import load_manifest, stored_ids
from framematch.core.errors import CatalogError, SnapshotInUseError

log = structlog.get_logger()


@dataclass(frozen=True)
class Pruned:
    """The ids of the deleted snapshots, and how many kept embeddings and changes of single products were deleted."""

    snapshots: tuple[str, ...]
    embeddings: int
    delta_entries: int


async def prune_snapshots(database: Database, storage: SnapshotStorage, *, keep: int) -> Pruned:
    """Delete all snapshots but those with a name, the `keep` newest of the others, and those that are being built.

    Before that, delete what killed builds have left; afterwards, the embeddings of spaces and pictures that no build
    needs, and the changes of single products that all remaining snapshots contain, but not while a build runs, and not
    without a snapshot.

    Raises:
        UnavailableError: MongoDB or the storage became unavailable; the next run or build completes it.
        CatalogError: one of them refused.
    """
    await clean_up(database, storage)
    leased = await leased_snapshots(database)
    needed = (await confirm_names(database)).needed
    deleted = await _delete(database, storage, _unneeded(await stored_ids(database), needed | leased, keep))
    return await _prune_rest(database, deleted)


async def delete_snapshot(database: Database, storage: SnapshotStorage, snapshot_id: str) -> Pruned:
    """Delete one snapshot, and what only it needed, as `prune_snapshots` does.

    Raises:
        SnapshotInUseError: a name points to it, or it is being built; then nothing is deleted.
        UnavailableError: MongoDB or the storage became unavailable; the next prune or build completes it.
        CatalogError: one of them refused, or the names are damaged.
    """
    names = await read_names(database)
    if snapshot_id in names.needed:
        raise _in_use(snapshot_id, "a name points to it")
    if snapshot_id in await leased_snapshots(database):
        raise _in_use(snapshot_id, "it is being built or deleted")
    deleted = await _delete(database, storage, [snapshot_id])
    if not deleted and snapshot_id in (await read_names(database)).needed:
        raise _in_use(snapshot_id, "it was given a name meanwhile")
    return await _prune_rest(database, deleted)


async def _prune_rest(database: Database, deleted: tuple[str, ...]) -> Pruned:
    """Delete what no build and no snapshot needs any more, unless a build runs or there is no snapshot."""
    kept = await _manifests(database, await stored_ids(database))
    if not kept or await leased_snapshots(database):
        return Pruned(deleted, 0, 0)
    samples = [kept_name(sample.image) async for sample in SampleStore(database).read()]
    embeddings = await prune_embeddings(database, set(map(space_of, kept)), samples)
    entries = await delete_up_to(database, min(manifest.delta for manifest in kept))
    log.info("snapshots_pruned", snapshots=list(deleted), embeddings=embeddings, delta_entries=entries)
    return Pruned(deleted, embeddings, entries)


async def snapshots_to_prune(database: Database, *, keep: int) -> tuple[str, ...]:
    """The ids of the snapshots that `prune_snapshots` would delete now; nothing is changed.

    Raises:
        CatalogError: the names of snapshots are damaged.
        MongoUnavailableError: MongoDB became unavailable.
    """
    needed = (await read_names(database)).needed | await leased_snapshots(database)
    return tuple(_unneeded(await stored_ids(database), needed, keep))


def _in_use(snapshot_id: str, why: str) -> SnapshotInUseError:
    return SnapshotInUseError(
        f"snapshot {snapshot_id} cannot be deleted: {why}", hint="Activate another one, or end the shadow, first"
    )


def _unneeded(stored: Iterable[str], needed: AbstractSet[str], keep: int) -> list[str]:
    return [snapshot_id for snapshot_id in stored if snapshot_id not in needed][keep:]


async def _delete(database: Database, storage: SnapshotStorage, snapshot_ids: Iterable[str]) -> tuple[str, ...]:
    """Delete these snapshots, unless one gets a name meanwhile; returns those that are deleted."""
    withdrawn: dict[str, Document] = {}
    for snapshot_id in snapshot_ids:
        await abandon(database, storage, snapshot_id)
        with mongo_errors("deleting a snapshot"):
            document = await database.snapshots.find_one_and_delete({"_id": snapshot_id})
        if document is not None:
            withdrawn[snapshot_id] = document
    # Who read the names before this cannot write them any more, and who reads them later finds no manifest.
    needed = (await confirm_names(database)).needed if withdrawn else frozenset()
    with mongo_errors("deleting a snapshot"):
        for snapshot_id in needed & set(withdrawn):
            await database.snapshots.insert_one(withdrawn[snapshot_id])
    for snapshot_id in withdrawn:
        await delete_without_manifest(database, storage, snapshot_id)
    return tuple(snapshot_id for snapshot_id in withdrawn if snapshot_id not in needed)


async def _manifests(database: Database, snapshot_ids: Iterable[str]) -> list[SnapshotManifest]:
    """The manifests of those that can be served."""
    found = []
    for snapshot_id in snapshot_ids:
        try:
            found.append(await load_manifest(database, snapshot_id))
        except CatalogError:  # of another version, or damaged
            continue
    return found
