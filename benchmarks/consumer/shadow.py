"""What a shadow snapshot costs: the consumer with one beside the active snapshot, against the consumer without.

Both snapshots have the demo's products and random vectors up to 20,000, and the same model, so the shadow decides every
region by one more search. `shadow.compared` is the share of regions that it compared; it dropped the others.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.consumer.runs import Run, compare, running_consumer
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure, Options, Results
from framematch.catalog.building.build import new_snapshot_id
from framematch.catalog.mongo import Database, connect
from framematch.catalog.snapshots.names import read_names, write_names
from framematch.catalog.snapshots.serving_status import read_statuses
from framematch.catalog.snapshots.snapshot import RowTable, describe_files, write_rows
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot, save_snapshot
from framematch.core.settings import MongoSettings
from framematch.vector_index.build import build_index

_PRODUCTS = 20_000
_REGIONS = "framematch_consumer_shadow_regions_total"
_POLL_S, _DEADLINE_S = 0.1, 30.0


def measure(site: Site, options: Options) -> Results:
    """The ratio of the rates."""
    shadow, frames = uvloop.run(_store_snapshots(site)), site.frames_for(options)
    compared: list[float] = []
    sides = {
        "shadow": partial(_run, site, frames, shadow, compared),
        "none": partial(_run, site, frames, None, compared),
    }
    found = compare("shadow_vs_none", sides, options)
    found.figures["shadow.compared"] = Figure.of(compared, "share")
    return found


async def _run(site: Site, frames: int, shadow: str | None, compared: list[float]) -> Run:
    async with _database(site) as database:
        names = await read_names(database)
        await write_names(database, names, names.with_shadow(shadow))
        async with running_consumer(site, site.kafka.new_topics(), warm=True) as consumer:
            if shadow is not None:
                await _wait_for_shadow(database, shadow)
            run = await consumer.backlog(frames)
            if shadow is not None:
                count = partial(consumer.service.metric, _REGIONS)
                compared.append(sum(count(outcome="compared")) / max(sum(count()), 1))
            return run


async def _wait_for_shadow(database: Database, shadow: str) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        served = False
        while not served:
            await asyncio.sleep(_POLL_S)
            served = any(status.shadow == shadow for status in await read_statuses(database))


async def _store_snapshots(site: Site) -> str:
    """Activate a snapshot of 20,000 products, and store another one with the same content; returns the other's id."""
    async with _database(site) as database:
        storage, names = open_storage(None, database), await read_names(database)
        with tempfile.TemporaryDirectory(dir=site.folder) as cache, tempfile.TemporaryDirectory(dir=site.folder) as new:
            folder = Path(new)
            small = await load_snapshot(database, storage, Path(cache))
            known = small.index.read(np.arange(small.manifest.vectors))
            small.index.close()
            size = (_PRODUCTS - small.manifest.products, small.manifest.dimension)
            random = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
            vectors = np.concatenate([known, random / np.linalg.norm(random, axis=1, keepdims=True)])
            added = [f"random-{number}" for number in range(len(random))]
            rows = RowTable(
                (*small.rows.product_ids, *added),
                (*small.rows.views, *[0] * len(added)),
                (*small.rows.images, *(f"{number:064x}" for number in range(len(added)))),
                (*small.rows.vectors, *range(len(known), len(vectors))),
            )
            write_rows(rows, folder)
            index = build_index(vectors, folder, "flat")
            ids = [new_snapshot_id() for _ in range(2)]
            for snapshot_id in ids:
                manifest = replace(
                    small.manifest,
                    id=snapshot_id,
                    rows=len(rows.product_ids),
                    vectors=len(vectors),
                    products=_PRODUCTS,
                    index=index,
                    files=describe_files(folder, index),
                )
                await save_snapshot(database, storage, manifest, folder)
        await write_names(database, names, names.with_active(ids[0]))
    return ids[1]


@asynccontextmanager
async def _database(site: Site) -> AsyncIterator[Database]:
    async with await connect(site.mongodb.uri) as client:
        yield client[MongoSettings().database]
