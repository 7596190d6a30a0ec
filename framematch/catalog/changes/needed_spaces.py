"""The embedding spaces that a change of a product must be searched in: those of the snapshots that a name points to."""

from dataclasses import dataclass

from framematch.catalog.embeddings.store import EmbeddingSpace
from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.names import SnapshotNames, read_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.store import load_manifest
from framematch.core.errors import CatalogError


@dataclass(frozen=True)
class NeededSpaces:
    """The manifests of the snapshots in use: first the active one, then one for each other space that is needed.

    `unusable` are previous or shadow snapshots that this version cannot use.
    """

    manifests: tuple[SnapshotManifest, ...]
    unusable: tuple["LeftOut", ...] = ()

    @property
    def active(self) -> SnapshotManifest:
        """The active snapshot's manifest."""
        return self.manifests[0]

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the spaces."""
        return frozenset(space_of(manifest).key for manifest in self.manifests)


@dataclass(frozen=True)
class LeftOut:
    """A snapshot in use that a change cannot be searched with, and why."""

    snapshot: str
    reason: str


def space_of(manifest: SnapshotManifest) -> EmbeddingSpace:
    """The space of a snapshot's embeddings."""
    return EmbeddingSpace(manifest.model_digest, manifest.preprocessing_digest, manifest.dimension)


async def read_needed_spaces(database: Database) -> NeededSpaces | None:
    """The spaces of the active, previous and shadow snapshots; None when no snapshot is active.

    Raises:
        CatalogError: the names or the active snapshot are damaged.
        MongoUnavailableError: MongoDB became unavailable.
    """
    names = await read_names(database)
    if names.active is None:
        return None
    active = await load_manifest(database, names.active)
    by_space = {space_of(active).key: active}
    unusable = []
    for snapshot_id in _others(names):
        try:
            manifest = await load_manifest(database, snapshot_id)
        except CatalogError as error:
            unusable.append(LeftOut(snapshot_id, error.message))
        else:
            by_space.setdefault(space_of(manifest).key, manifest)
    return NeededSpaces(tuple(by_space.values()), tuple(unusable))


def _others(names: SnapshotNames) -> list[str]:
    return [one for one in (names.previous, names.shadow) if one is not None and one != names.active]
