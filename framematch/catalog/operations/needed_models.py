"""Which models the snapshots that are in use were built with."""

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.build_lease import leased_snapshots
from framematch.catalog.snapshots.names import read_names
from framematch.catalog.snapshots.serving_status import read_statuses
from framematch.catalog.snapshots.store import load_manifest
from framematch.core.errors import CatalogError


async def needed_models(database: Database) -> dict[str, tuple[str, ...]]:
    """Who needs a model, by the model's digest: names of snapshots, and `a running process` that serves another one.

    Raises:
        CatalogError: the names are damaged, or the manifest of a snapshot in use is missing or damaged: then it is not
            known which model it needs.
        MongoUnavailableError: MongoDB became unavailable.
    """
    names = await read_names(database)
    in_use = [("active", names.active), ("previous", names.previous), ("shadow", names.shadow)]
    named = {snapshot for _name, snapshot in in_use}
    for status in await read_statuses(database):
        in_use += [
            ("a running process", snapshot) for snapshot in (status.snapshot, status.shadow) if snapshot not in named
        ]
    needed: dict[str, list[str]] = {}
    for name, snapshot_id in dict.fromkeys(in_use):
        if snapshot_id is not None:
            manifest = await load_manifest(database, snapshot_id)
            needed.setdefault(manifest.model_digest, []).append(name)
    return {digest: tuple(dict.fromkeys(found)) for digest, found in needed.items()}


async def require_no_build(database: Database) -> None:
    """Check that no index is being built: it is not known yet which model its snapshot will need.

    Raises:
        CatalogError: one is being built.
        MongoUnavailableError: MongoDB became unavailable.
    """
    if leased := await leased_snapshots(database):
        raise CatalogError(
            f"the snapshot {min(leased)} is being built",
            hint="Wait until the build has ended; if it was killed, the next 'framematch catalog build' cleans up",
        )
