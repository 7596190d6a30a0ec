"""Finds stored snapshots: all of them, or the one that an operator means."""

from collections.abc import Iterable
from dataclasses import dataclass

from framematch.catalog.mongo import Database, mongo_errors
from framematch.catalog.snapshots.names import SnapshotNames, read_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.store import stored_ids, to_manifest
from framematch.core.errors import CatalogError, UsageError

_LIST_HINT = "See 'framematch catalog snapshots'"
_NAMES = ("active", "previous", "shadow")


@dataclass(frozen=True)
class StoredSnapshot:
    """A snapshot in the database. Without a manifest it cannot be used, and `problem` says why."""

    id: str
    manifest: SnapshotManifest | None
    problem: str = ""

    @property
    def age(self) -> tuple[str, str, str]:
        """Larger for a newer one. Ids start with the second of the build; the manifest knows it more exactly."""
        return self.id.partition("-")[0], self.manifest.created_at if self.manifest else "", self.id


async def list_snapshots(database: Database) -> list[StoredSnapshot]:
    """All snapshots, the newest first.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    with mongo_errors("listing the snapshots"):
        documents = await database.snapshots.find({}).to_list()
    found = []
    for document in documents:
        snapshot_id = str(document["_id"])
        try:
            found.append(StoredSnapshot(snapshot_id, to_manifest(snapshot_id, document)))
        except CatalogError as error:
            found.append(StoredSnapshot(snapshot_id, None, error.message))
    return sorted(found, key=lambda snapshot: snapshot.age, reverse=True)


async def find_snapshot(database: Database, reference: str) -> str:
    """The id of the snapshot that `reference` means: see `match_reference`.

    Raises:
        CatalogError: there is none, or the name points to none, or the names are damaged.
        UsageError: several ids start like this.
        MongoUnavailableError: MongoDB became unavailable.
    """
    names = await read_names(database) if reference in _NAMES else SnapshotNames()
    return match_reference(reference, map(str, await stored_ids(database)), names)


def match_reference(reference: str, ids: Iterable[str], names: SnapshotNames) -> str:
    """The id that is meant by a name (`active`, `previous`, `shadow`), an id, or the start of exactly one id.

    Raises:
        CatalogError: there is none, or the name points to none.
        UsageError: several ids start like this.
    """
    known = set(ids)
    if reference in _NAMES:
        named: str | None = getattr(names, reference)
        if named is None:
            raise CatalogError(f"no snapshot is {reference}", hint=_LIST_HINT)
        if named not in known:
            raise CatalogError(f"the {reference} snapshot {named} does not exist", hint=_LIST_HINT)
        return named
    found = sorted(snapshot_id for snapshot_id in known if reference and snapshot_id.startswith(reference))
    if reference in found:
        return reference
    if not found:
        raise CatalogError(f"there is no snapshot {reference!r}", hint=_LIST_HINT)
    if len(found) > 1:
        raise UsageError(
            f"{reference!r} is the start of {len(found)} snapshots, such as {found[0]} and {found[1]}",
            hint="Write more of the id",
        )
    return found[0]
