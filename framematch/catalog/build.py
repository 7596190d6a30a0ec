"""Builds an index snapshot: every view of every product through the served model, then into FAISS."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
import structlog
from numpy.typing import NDArray

from framematch.catalog.images import decode_rgb
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshot import RowTable, Snapshot, SnapshotManifest, describe, pack
from framematch.catalog.thresholds import estimate_thresholds
from framematch.core.errors import CatalogError
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.vision.manifest import ModelManifest
from framematch.vision.preprocess import Preprocessor

log = structlog.get_logger()

# While one batch is computed, the next is on its way and the one after it is decoded.
BATCHES_IN_FLIGHT = 3
# Larger batches gain little and hold more decoded pictures in memory.
MAX_BATCH_VIEWS = 32
DECODE_THREADS = 2

OnProgress = Callable[[int, int], None]


class Encoder(Protocol):
    """What a build needs of `framematch.vision.encoder.ImageEncoder`."""

    @property
    def manifest(self) -> ModelManifest:
        """Which model makes the embeddings."""

    async def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, H, W, 3] -> float32 [N, D], unit length."""


@dataclass(frozen=True)
class _Work:
    """Which image each row of the index comes from."""

    rows: RowTable
    images: tuple[str, ...]


async def build_snapshot(
    store: ProductStore,
    encoder: Encoder,
    preprocessor: Preprocessor,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Snapshot:
    """Embed all views of the catalogue and index them; nothing is stored yet.

    `on_progress` gets the views done and all views. Memory: the embeddings twice, and the pictures of a few batches.

    Raises:
        CatalogError: the catalogue is empty, or an image of it is gone or damaged.
        ModelError: the model gave something that is not an embedding.
        UnavailableError: MongoDB or Triton went away.
    """
    version = await store.catalog_version()
    work = await _list_views(store)
    with ThreadPoolExecutor(DECODE_THREADS, "decode") as pool:
        embeddings = await _Embedder(work, store, encoder, preprocessor, pool).embed_all(on_progress)
    numbers: dict[str, int] = {}
    products = np.fromiter((numbers.setdefault(key, len(numbers)) for key in work.rows.product_ids), np.int64)
    thresholds = await asyncio.to_thread(estimate_thresholds, embeddings, products)
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    created_at = to_rfc3339(now_us())
    manifest = SnapshotManifest(
        id=f"{created_at[:19].translate(str.maketrans('', '', '-:'))}Z-{uuid.uuid4().hex[:8]}",
        created_at=created_at,
        catalog_version=version,
        model_name=encoder.manifest.name,
        model_digest=encoder.manifest.digest,
        preprocessing_variant=preprocessor.variant,
        preprocessing_digest=preprocessor.digest,
        dimension=index.d,
        metric="inner_product",
        rows=index.ntotal,
        products=len(numbers),
        files=describe(pack(index, work.rows)),
        thresholds=thresholds,
    )
    log.info("snapshot_built", snapshot=manifest.id, rows=manifest.rows, match_threshold=thresholds.match)
    return Snapshot(manifest, index, work.rows)


async def _list_views(store: ProductStore) -> _Work:
    product_ids: list[str] = []
    views: list[int] = []
    images: list[str] = []
    async for product in store.iterate():
        for number, view in enumerate(product.views):
            product_ids.append(product.id)
            views.append(number)
            images.append(view.image)
    if not images:
        raise CatalogError("the catalogue is empty", hint="Run 'framematch catalog import FILE' first")
    return _Work(RowTable(tuple(product_ids), tuple(views)), tuple(images))


@dataclass(frozen=True)
class _Embedder:
    """Decodes pictures in threads and keeps a few batches in flight to the model."""

    work: _Work
    store: ProductStore
    encoder: Encoder
    preprocessor: Preprocessor
    pool: ThreadPoolExecutor

    async def embed_all(self, on_progress: OnProgress) -> NDArray[np.float32]:
        """Embeddings of all rows, float32 [rows, D]."""
        total = len(self.work.images)
        embeddings = np.empty((total, self.encoder.manifest.dimension), np.float32)
        batches = _batches(total, min(MAX_BATCH_VIEWS, self.encoder.manifest.max_batch_size))
        done = 0

        async def take_batches() -> None:
            nonlocal done
            for rows in batches:  # shared: each batch is taken once
                embeddings[rows.start : rows.stop] = await self._embed(rows)
                done += len(rows)
                on_progress(done, total)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(BATCHES_IN_FLIGHT):
                    group.create_task(take_batches())
        except ExceptionGroup as errors:
            # They fail for one reason, such as a server that went away: the first says it.
            raise errors.exceptions[0] from None
        return embeddings

    async def _embed(self, rows: range) -> NDArray[np.float32]:
        data = await self.store.get_images({self.work.images[row] for row in rows})
        loop = asyncio.get_running_loop()
        jobs = (loop.run_in_executor(self.pool, self._prepare, row, data) for row in rows)
        return await self.encoder.embed(np.stack(await asyncio.gather(*jobs)))

    def _prepare(self, row: int, data: dict[str, bytes]) -> NDArray[np.uint8]:
        """The picture of a row as the model takes it, uint8 [H, W, 3]."""
        try:
            return self.preprocessor(decode_rgb(data[self.work.images[row]]))
        except (KeyError, CatalogError) as error:
            reason = error.message if isinstance(error, CatalogError) else "is gone from MongoDB"
            product = self.work.rows.product_ids[row]
            raise CatalogError(f"image of product {product!r} {reason}", hint="Import the catalogue again") from None


def _batches(total: int, size: int) -> Iterator[range]:
    for start in range(0, total, size):
        yield range(start, min(start + size, total))
