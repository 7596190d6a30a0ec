"""Builds of the index, with all pictures new and with ten: `python -m benchmarks.index_build`.

The catalogue has 20,000 JPEGs of noise in 64 x 64 pixels (with `--quick` 2,000), which are small to decode; the demo's
model on Triton embeds them, and MongoDB stores everything. A build is what `framematch catalog build` does after it has
connected: listing, embedding, thresholds, index, storing, verifying, activating. All embeddings are deleted before the
one that embeds all.
"""

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.cli import Benchmark, Part
from benchmarks.harness import Figure, Options, Results
from benchmarks.models import build_model
from framematch.catalog.building.build import BuildOptions, BuildReport
from framematch.catalog.building.stored_build import Builder, activate_built, active_snapshot
from framematch.catalog.mongo import connect
from framematch.catalog.products import Product, ProductStore, StoredImage, View
from framematch.catalog.snapshots.storage import open_storage
from framematch.core.errors import FramematchError
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from framematch.stack.up import running_servers
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor

PICTURES, QUICK_PICTURES, CHANGED = 20_000, 2_000, 10
GOAL = 0.1
_SIDE, _BATCH, _MAX_MODEL_BATCH = 64, 500, 32


@dataclass(frozen=True)
class Site:
    """A Triton with the demo's model, a MongoDB, and a folder for fetched snapshots."""

    triton: TritonServer
    mongodb: MongoServer
    cache_dir: Path


@contextmanager
def running_site(folder: Path, _model: str) -> Iterator[Site]:
    """The servers, inside the context."""
    site = Site(
        TritonServer(folder / "triton", folder / "model_repository"), MongoServer(folder / "mongodb"), folder / "cache"
    )
    build_model("demo", site.triton.model_repository, max_batch_size=_MAX_MODEL_BATCH)
    with running_servers([site.triton, site.mongodb], data_dir=folder, report=print):
        yield site


def measure(site: Site, options: Options) -> Results:
    """Seconds of both builds, and their ratio; the long one is measured once."""
    found = Results(at_most={"incremental_vs_full": GOAL})
    full_s, incremental_s = asyncio.run(_measure(site, QUICK_PICTURES if options.quick else PICTURES, options.rounds))
    found.figures["build_full"] = Figure.of([full_s], "s")
    found.figures["build_incremental"] = Figure.of(incremental_s, "s")
    found.figures["incremental_vs_full"] = Figure.of([seconds / full_s for seconds in incremental_s], "ratio")
    return found


async def _measure(site: Site, pictures: int, rounds: int) -> tuple[float, list[float]]:
    async with await connect(site.mongodb.uri) as client, await ImageEncoder.connect(site.triton.url) as encoder:
        store = ProductStore(client["benchmark"])
        builder = Builder(store, open_storage(None, store.database), site.cache_dir)
        for start in range(0, pictures, _BATCH):
            await _store(store, {number: number for number in range(start, min(start + _BATCH, pictures))})
        full_s = await _build(builder, encoder, pictures)
        print(f"{pictures} of {pictures} pictures embedded: {full_s:.1f} s", flush=True)
        incremental_s = []
        for number in range(rounds):
            changed = range(number * CHANGED, (number + 1) * CHANGED)
            await _store(store, {product: pictures + product for product in changed})
            incremental_s.append(await _build(builder, encoder, CHANGED))
            print(f"{CHANGED} of {pictures} pictures embedded: {incremental_s[-1]:.1f} s", flush=True)
        return full_s, incremental_s


async def _store(store: ProductStore, pictures: dict[int, int]) -> None:
    """Store the picture with this number for each product, by the product's number."""
    images = [_image(number) for number in pictures.values()]
    await store.put_images(images)
    await store.upsert_many(
        [
            Product(f"p{number:06}", "Product", views=(image.view,))
            for number, image in zip(pictures, images, strict=True)
        ]
    )


def _image(number: int) -> StoredImage:
    pixels = np.random.default_rng(number).integers(0, 256, (_SIDE // 8, _SIDE // 8, 3), np.uint8)
    _, encoded = cv2.imencode(".jpg", cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC))
    data = encoded.tobytes()
    return StoredImage(View(hashlib.sha256(data).hexdigest(), _SIDE, _SIDE), data)


async def _build(builder: Builder, encoder: ImageEncoder, new_pictures: int) -> float:
    """Build, store and activate; returns the seconds that it took.

    Raises:
        FramematchError: another number of pictures was embedded.
    """
    started_s, report = time.monotonic(), BuildReport()
    active_before = await active_snapshot(builder.store.database)
    preprocessor = Preprocessor(encoder.manifest.preprocess, "fast")
    manifest = await builder.build(encoder, preprocessor, BuildOptions(), report=report)
    await activate_built(builder.store.database, manifest, active_before)
    if report.new_pictures != new_pictures:
        raise FramematchError(f"{report.new_pictures} pictures were embedded, not {new_pictures}")
    return time.monotonic() - started_s


BENCHMARK = Benchmark(
    name="index_build",
    description="Measure builds of the index: all pictures new, and ten of them.",
    parts={"incremental": Part[Site](measure)},
    running_site=running_site,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
