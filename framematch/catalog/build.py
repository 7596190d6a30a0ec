"""Builds an index snapshot: embeds every view of every product with the served model, and estimates thresholds."""

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog

from framematch.catalog.empty_frames import match_empty_frames
from framematch.catalog.images import decode_rgb
from framematch.catalog.products import ProductStore
from framematch.catalog.shared_pictures import PictureOwners
from framematch.catalog.snapshot import RowTable, SnapshotManifest, describe_files, write_rows
from framematch.catalog.thresholds import estimate_thresholds
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import CatalogError, ModelError
from framematch.core.progress import OnProgress
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.vector_index.build import build_index, choose_kind
from framematch.vector_index.distinct import distinct_rows
from framematch.vector_index.vector_file import invalid_rows
from framematch.vision.manifest import ModelManifest
from framematch.vision.preprocess import Preprocessor

log = structlog.get_logger()

# One is computed, the next is being sent, and the one after it is decoded.
BATCHES_IN_FLIGHT = 3
# Larger batches are hardly faster and need more memory for decoded pictures.
MAX_BATCH_VIEWS = 32
DECODE_THREADS = 2
# For one query. Together they fit into a reply, which a driver takes up to 48 MB: an image has up to 15 MB.
FETCHED_IMAGES = 3


class Encoder(Protocol):
    """The part of `framematch.vision.encoder.ImageEncoder` that a build uses."""

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the model."""

    async def embed(self, pixels: Pixels) -> Embeddings:
        """uint8 [N, H, W, 3] -> float32 [N, D], unit length."""


@dataclass(frozen=True)
class _Views:
    """All views of the catalogue, in the order of the rows: product, number and picture of each."""

    product_ids: tuple[str, ...]
    numbers: tuple[int, ...]
    images: tuple[str, ...]


async def build_snapshot(
    store: ProductStore,
    encoder: Encoder,
    preprocessor: Preprocessor,
    folder: Path,
    *,
    on_progress: OnProgress = lambda _done, _total: None,
    owners: PictureOwners | None = None,
) -> SnapshotManifest:
    """Embed all views of the catalogue, try empty frames against them, and write the snapshot's files into `folder`.

    A picture that several products have is embedded once; `owners` collects the pictures of all products.
    `on_progress` counts pictures. Memory: the embeddings twice, the pixels of a few batches, and up to
    `BATCHES_IN_FLIGHT` times `FETCHED_IMAGES` image files.

    Raises:
        CatalogError: the catalogue is empty, or an image is missing or damaged.
        ModelError: the model returned something that is no embedding.
        UnavailableError: MongoDB or Triton became unavailable.
    """
    version = await store.catalog_version()
    views = await _list_views(store, owners or PictureOwners())
    with ThreadPoolExecutor(DECODE_THREADS, "decode") as pool:
        embeddings = await _Embedder(views, store, encoder, preprocessor, pool).embed_all(on_progress)
    if (invalid := invalid_rows(embeddings)).size:
        raise ModelError(
            f"the model returned no finite unit vector for product {views.product_ids[invalid[0]]!r}",
            hint="Build the model again: 'framematch model build'",
        )
    product_numbers: dict[str, int] = {}
    products = np.fromiter(
        (product_numbers.setdefault(key, len(product_numbers)) for key in views.product_ids), np.int64
    )
    thresholds = await asyncio.to_thread(estimate_thresholds, embeddings, products)
    empty_frames = await match_empty_frames(
        encoder.embed, preprocessor.spec, embeddings, views.product_ids, thresholds.match
    )
    first_rows, numbers = distinct_rows(embeddings)
    rows = RowTable(views.product_ids, views.numbers, views.images, tuple(numbers.tolist()))
    write_rows(rows, folder)
    kind = choose_kind(len(first_rows), embeddings.shape[1])
    index = await asyncio.to_thread(build_index, embeddings[first_rows], folder, kind)
    created_at = to_rfc3339(now_us())
    manifest = SnapshotManifest(
        id=f"{created_at[:19].translate(str.maketrans('', '', '-:'))}Z-{uuid.uuid4().hex[:8]}",
        created_at=created_at,
        catalog_version=version,
        model_name=encoder.manifest.name,
        model_digest=encoder.manifest.digest,
        preprocessing_variant=preprocessor.variant,
        preprocessing_digest=preprocessor.digest,
        dimension=embeddings.shape[1],
        metric="inner_product",
        rows=len(embeddings),
        vectors=len(first_rows),
        products=len(product_numbers),
        index=index,
        files=await asyncio.to_thread(describe_files, folder, index),
        thresholds=thresholds,
        empty_frames=empty_frames,
    )
    log.info(
        "snapshot_built", snapshot=manifest.id, rows=manifest.rows, match_threshold=thresholds.match,
        threshold_pairs=thresholds.impostors, empty_frames=len(empty_frames),
    )  # fmt: skip
    return manifest


async def _list_views(store: ProductStore, owners: PictureOwners) -> _Views:
    product_ids: list[str] = []
    numbers: list[int] = []
    images: list[str] = []
    async for product in store.iterate():
        owners.add(product.id, (view.image for view in product.views))
        for number, view in enumerate(product.views):
            product_ids.append(product.id)
            numbers.append(number)
            images.append(view.image)
    if not images:
        raise CatalogError("the catalogue is empty", hint="Run 'framematch catalog import FILE' first")
    return _Views(tuple(product_ids), tuple(numbers), tuple(images))


@dataclass(frozen=True)
class _Embedder:
    """Decodes pictures in threads and keeps a few batches in flight."""

    views: _Views
    store: ProductStore
    encoder: Encoder
    preprocessor: Preprocessor
    pool: ThreadPoolExecutor

    async def embed_all(self, on_progress: OnProgress) -> Embeddings:
        """The embeddings of all rows, [rows, D]; rows with the same picture have the same one."""
        numbers = {image: number for number, image in enumerate(dict.fromkeys(self.views.images))}
        images, total = list(numbers), len(numbers)
        embeddings = np.empty((total, self.encoder.manifest.dimension), np.float32)
        batches = _batches(total, min(MAX_BATCH_VIEWS, self.encoder.manifest.max_batch_size))
        done = 0

        async def embed_batches() -> None:
            nonlocal done
            for batch in batches:  # one iterator for all tasks
                embeddings[batch.start : batch.stop] = await self._embed(images[batch.start : batch.stop])
                done += len(batch)
                on_progress(done, total)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(BATCHES_IN_FLIGHT):
                    group.create_task(embed_batches())
        except ExceptionGroup as errors:
            # All fail for the same reason, such as an unavailable server.
            raise errors.exceptions[0] from None
        if total == len(self.views.images):
            return embeddings
        return embeddings[[numbers[image] for image in self.views.images]]

    async def _embed(self, images: list[str]) -> Embeddings:
        loop = asyncio.get_running_loop()
        pixels: list[Pixels] = []
        for part in _batches(len(images), FETCHED_IMAGES):
            fetched = images[part.start : part.stop]
            data = await self.store.get_images(fetched)
            jobs = (loop.run_in_executor(self.pool, self._prepare, image, data) for image in fetched)
            pixels += await asyncio.gather(*jobs)
        return await self.encoder.embed(np.stack(pixels))

    def _prepare(self, image: str, data: dict[str, bytes]) -> Pixels:
        """The preprocessed picture with this digest, [H, W, 3]."""
        try:
            return self.preprocessor(decode_rgb(data[image]))
        except KeyError:
            reason, hint = "is gone from MongoDB", "Import the catalogue again"
        except CatalogError as error:
            reason, hint = error.message, "Replace the picture, and import the catalogue again"
        product = self.views.product_ids[self.views.images.index(image)]
        raise CatalogError(f"image of product {product!r} {reason}", hint=hint)


def _batches(total: int, size: int) -> Iterator[range]:
    for start in range(0, total, size):
        yield range(start, min(start + size, total))
