"""Gets an embedding for each picture of the catalogue: a kept one, or else a new one from the served model."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog

from framematch.catalog.embeddings.store import EmbeddingStore
from framematch.catalog.images import decode_rgb
from framematch.catalog.products import ProductStore
from framematch.core.arrays import Embeddings, Pixels, invalid_rows
from framematch.core.error_groups import ungrouped_errors
from framematch.core.errors import CatalogError, ModelError
from framematch.core.progress import OnProgress
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
class Pictures:
    """Distinct pictures by their SHA-256, and for each a product that has it."""

    digests: Sequence[str]
    product_ids: Sequence[str]


@dataclass(frozen=True)
class PictureEmbedder:
    """Decodes pictures in threads and keeps a few batches in flight."""

    store: ProductStore
    kept: EmbeddingStore
    encoder: Encoder
    preprocessor: Preprocessor

    async def embed(self, pictures: Pictures, vectors: Embeddings, on_progress: OnProgress) -> int:
        """Write the embedding of each picture into its row of `vectors`, [pictures, D], which may be memory-mapped.

        Returns how many pictures had no kept embedding. A new one is kept at once, so that a build that was
        interrupted goes on where it was.

        Raises:
            CatalogError: an image is missing or damaged.
            ModelError: the model returned something that is no embedding.
            UnavailableError: MongoDB or Triton became unavailable.
        """
        missing = await self._read_kept(pictures, vectors)
        total = len(pictures.digests)
        done = total - len(missing)
        on_progress(done, total)
        batches = _parts(missing, min(MAX_BATCH_VIEWS, self.encoder.manifest.max_batch_size))

        async def embed_batches() -> None:
            nonlocal done
            for batch in batches:  # one iterator for all tasks
                vectors[batch] = await self._embed(pictures, batch, pool)
                done += len(batch)
                on_progress(done, total)

        # All tasks fail for the same reason, such as an unavailable server.
        with ThreadPoolExecutor(DECODE_THREADS, "decode") as pool, ungrouped_errors():
            async with asyncio.TaskGroup() as group:
                for _ in range(BATCHES_IN_FLIGHT):
                    group.create_task(embed_batches())
        log.info("pictures_embedded", pictures=total, new=len(missing))
        return len(missing)

    async def _read_kept(self, pictures: Pictures, vectors: Embeddings) -> list[int]:
        """Fill in the kept embeddings, and return the numbers of the other pictures."""
        is_kept = np.zeros(len(pictures.digests), bool)
        async for numbers, rows in self.kept.read(pictures.digests):
            vectors[numbers] = rows
            is_kept[numbers] = True
        return np.flatnonzero(~is_kept).tolist()

    async def _embed(self, pictures: Pictures, batch: list[int], pool: ThreadPoolExecutor) -> Embeddings:
        loop = asyncio.get_running_loop()
        pixels: list[Pixels] = []
        for part in _parts(batch, FETCHED_IMAGES):
            data = await self.store.get_images([pictures.digests[number] for number in part])
            jobs = (loop.run_in_executor(pool, self._prepare, pictures, number, data) for number in part)
            pixels += await asyncio.gather(*jobs)
        embeddings = await self.encoder.embed(np.stack(pixels))
        if (invalid := invalid_rows(embeddings)).size:
            raise ModelError(
                f"the model returned no finite unit vector for product {pictures.product_ids[batch[invalid[0]]]!r}",
                hint="Build the model again: 'framematch model build'",
            )
        await self.kept.write([pictures.digests[number] for number in batch], embeddings)
        return embeddings

    def _prepare(self, pictures: Pictures, number: int, data: dict[str, bytes]) -> Pixels:
        """The preprocessed picture, [H, W, 3]."""
        try:
            return self.preprocessor(decode_rgb(data[pictures.digests[number]]))
        except KeyError:
            reason, hint = "is gone from MongoDB", "Import the catalogue again"
        except CatalogError as error:
            reason, hint = error.message, "Replace the picture, and import the catalogue again"
        raise CatalogError(f"image of product {pictures.product_ids[number]!r} {reason}", hint=hint)


def _parts(numbers: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
