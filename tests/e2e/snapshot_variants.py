"""Makes snapshots that differ from a stored one in known ways."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.snapshot import ROWS_FILE, SnapshotManifest, describe_files
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_manifest, save_snapshot


async def store_variant(
    database: Database,
    original: str,
    folder: Path,
    *,
    snapshot_id: str,
    match: float | None = None,
    margin: float | None = None,
    renamed: Mapping[str, str] | None = None,
    model_digest: str | None = None,
) -> SnapshotManifest:
    """Store a copy of a snapshot with other thresholds, products or model; files are written below `folder`."""
    storage, manifest, own = open_storage(None, database), await load_manifest(database, original), folder / snapshot_id
    own.mkdir(parents=True)
    for name in manifest.files:
        with (own / name).open("wb") as file:
            async for piece in storage.read(original, name):
                file.write(piece)
    rows = json.loads((own / ROWS_FILE).read_text())
    rows["product_ids"] = [(renamed or {}).get(product, product) for product in rows["product_ids"]]
    (own / ROWS_FILE).write_text(json.dumps(rows))
    thresholds = manifest.thresholds
    variant = replace(
        manifest,
        id=snapshot_id,
        files=describe_files(own, manifest.index),
        thresholds=replace(
            thresholds,
            match=thresholds.match if match is None else match,
            margin=thresholds.margin if margin is None else margin,
        ),
        model_digest=model_digest or manifest.model_digest,
    )
    await save_snapshot(database, storage, variant, own)
    shutil.rmtree(own)
    return variant
