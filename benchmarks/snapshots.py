"""Makes snapshots without a common product, so that an event that mixes two is noticed."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.snapshot import describe_files, write_rows
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_rows, load_snapshot, save_snapshot
from framematch.core.events import MatchEvent


@dataclass(frozen=True)
class SnapshotProducts:
    """A snapshot and its products; no other snapshot of the test has one of them."""

    id: str
    products: frozenset[str]


async def active_products(database: Database, cache_dir: Path) -> SnapshotProducts:
    """The active snapshot."""
    snapshot = await load_snapshot(database, open_storage(None, database), cache_dir)
    return SnapshotProducts(snapshot.manifest.id, frozenset(snapshot.rows.product_ids))


async def copy_active(database: Database, cache_dir: Path, snapshot_id: str) -> SnapshotProducts:
    """Store a copy of the active snapshot under another id, whose products are called `<id>/<product>`."""
    storage = open_storage(None, database)
    source = await load_snapshot(database, storage, cache_dir)
    manifest, folder = source.manifest, cache_dir / source.manifest.id
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        for name in manifest.files:
            (copy / name).write_bytes((folder / name).read_bytes())
        rows = await load_rows(storage, cache_dir, manifest)
        rows = replace(rows, product_ids=tuple(f"{snapshot_id}/{product}" for product in rows.product_ids))
        write_rows(rows, copy)
        copied = replace(manifest, id=snapshot_id, files=describe_files(copy, manifest.index))
        await save_snapshot(database, storage, copied, copy)
    return SnapshotProducts(snapshot_id, frozenset(rows.product_ids))


def mixed_events(events: Iterable[MatchEvent], snapshots: Iterable[SnapshotProducts]) -> list[MatchEvent]:
    """The events that name a product which their snapshot does not have, or none of these snapshots."""
    products = {snapshot.id: snapshot.products for snapshot in snapshots}
    return [
        event
        for event in events
        if event.snapshot not in products
        or not {candidate.product_id for candidate in event.candidates} <= products[event.snapshot]
        or (event.product is not None and event.product.id not in products[event.snapshot])
    ]
