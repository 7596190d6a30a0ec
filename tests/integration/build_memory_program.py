"""Builds a snapshot of 100,000 pictures whose embeddings are kept, with less memory of its own than the vectors have.

The argument is a folder. What MongoDB would answer is made here. The files of the index and of the vectors are mapped,
and the kernel may drop such pages at any time; everything else counts for the limit.
"""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from framematch.catalog.building import build
from framematch.catalog.embeddings.store import EmbeddingStore
from framematch.catalog.products import Product, ProductStore, View
from framematch.core.arrays import Embeddings
from framematch.vision.manifest import ModelManifest
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import SPEC, ColourEncoder, unit_rows

PICTURES, DIMENSION, BATCH = 100_000, 512, 2_000
VECTOR_BYTES = PICTURES * DIMENSION * 4
NO_DATABASE: Any = None


class FakeEmbeddingStore(EmbeddingStore):
    """Has an embedding for each picture."""

    def __init__(self, database: Any, space: Any) -> None:
        """Without a database."""

    async def read(self, images: Sequence[str]) -> AsyncIterator[tuple[list[int], Embeddings]]:
        for start in range(0, len(images), BATCH):
            yield list(range(start, start + BATCH)), unit_rows(BATCH, DIMENSION, seed=start)


class FakeProductStore(ProductStore):
    """Has a product for each picture."""

    async def catalog_version(self) -> int:
        return 1

    async def iterate(
        self, *, category: str | None = None, words: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Product]:
        del category, words, limit
        for number in range(PICTURES):
            yield Product(f"product-{number}", "Product", views=(View(f"{number:064x}", 4, 4),))


class FakeEncoder(ColourEncoder):
    """Embeds what shows nothing."""

    async def embed(self, pixels: Any) -> Embeddings:
        return unit_rows(len(pixels), DIMENSION, seed=1)


async def fake_newest_number(database: Any) -> int:
    del database
    return 0


async def fake_nothing_rows(samples: Any) -> Embeddings:
    del samples
    return np.empty((0, DIMENSION), np.float32)


def own_memory_bytes() -> int:
    """What RLIMIT_DATA counts: heap and private memory, but no mapped files."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmData")) * 1_024


def main() -> None:
    model = ModelManifest("fake", "ab" * 32, DIMENSION, SPEC, None, None, max_batch_size=32)
    # Memory of threads and libraries that are there in any case.
    np.ones((512, 512), np.float32) @ np.ones((512, 512), np.float32)
    limit = own_memory_bytes() + VECTOR_BYTES * 3 // 4
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    store, folder = FakeProductStore(NO_DATABASE), Path(sys.argv[1])
    with (
        patch.object(build, "EmbeddingStore", FakeEmbeddingStore),
        patch.object(build, "newest_number", fake_newest_number),
        patch.object(build, "SampleStore"),
        patch.object(build, "nothing_rows", fake_nothing_rows),
    ):
        made = build.build_snapshot(store, FakeEncoder(model), Preprocessor(SPEC, "fast"), folder)
        manifest = asyncio.run(made)
    print(manifest.vectors, manifest.index.kind)  # noqa: T201  # the test reads it


if __name__ == "__main__":
    main()
