"""Small snapshots and images for the tests."""

import hashlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framematch.catalog.snapshots.snapshot import (
    RowTable,
    Snapshot,
    SnapshotManifest,
    describe_files,
    open_snapshot,
    write_nothing,
    write_rows,
)
from framematch.catalog.snapshots.thresholds import ThresholdEstimate
from framematch.core.arrays import Embeddings, Pixels
from framematch.vector_index.build import build_index
from framematch.vector_index.description import Kind
from framematch.vector_index.distinct import distinct_rows
from framematch.vision.manifest import ModelManifest, PreprocessSpec
from framematch.vision.preprocess import Preprocessor

SPEC = PreprocessSpec(4, 4, 4, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
MODEL = ModelManifest("colours", "ab" * 32, 48, SPEC, None, None, max_batch_size=3)


class ColourEncoder:
    """A fake encoder: a picture's embedding is its own 4 x 4 pixels, centred and normalised."""

    def __init__(self, manifest: ModelManifest = MODEL) -> None:
        self.manifest = manifest
        self.largest_batch = 0

    def require_preprocessing(self, digest: str) -> None:
        """Like `ImageEncoder.require_preprocessing`."""

    async def embed(self, pixels: Pixels) -> Embeddings:
        """Like `ImageEncoder.embed`."""
        self.largest_batch = max(self.largest_batch, len(pixels))
        flat = pixels.reshape(len(pixels), -1).astype(np.float32) - 127.5
        return _unit(flat)


def make_snapshot(
    embeddings: Embeddings, product_ids: Sequence[str], match: float = 0.5, margin: float = 0.1, **other: Any
) -> Snapshot:
    """A snapshot of these rows; the views of a product are numbered in order. `other` as of `write_snapshot`."""
    with tempfile.TemporaryDirectory() as folder:  # the files stay mapped
        return open_snapshot(
            write_snapshot(Path(folder), embeddings, product_ids, match, margin, **other), Path(folder)
        )


def write_snapshot(
    folder: Path, embeddings: Embeddings, product_ids: Sequence[str], match: float = 0.5, margin: float = 0.1,
    *, kind: Kind = "flat", nothing: Embeddings | None = None,
) -> SnapshotManifest:  # fmt: skip
    """Write the files of `make_snapshot` into `folder`; `nothing` are vectors of pictures without a product."""
    empty = np.empty((0, embeddings.shape[1]), np.float32) if nothing is None else nothing
    write_nothing(empty, folder)
    first_rows, vectors = distinct_rows(embeddings)
    write_rows(row_table(product_ids, vectors.tolist(), [image_of(row) for row in embeddings]), folder)
    index = build_index(embeddings[first_rows], folder, kind)
    return SnapshotManifest(
        id="20260101T000000Z-00000000",
        created_at="2026-01-01T00:00:00.000000Z",
        catalog_version=1,
        model_name=MODEL.name,
        model_digest=MODEL.digest,
        preprocessing_variant="fast",
        preprocessing_digest=Preprocessor(SPEC, "fast").digest,
        dimension=embeddings.shape[1],
        metric="inner_product",
        rows=len(embeddings),
        vectors=len(first_rows),
        products=len(set(product_ids)),
        index=index,
        files=describe_files(folder, index, nothing=len(empty)),
        thresholds=ThresholdEstimate(match, margin, "given", None, 0),
        nothing=len(empty),
    )


def row_table(
    product_ids: Sequence[str], vectors: Sequence[int] | None = None, images: Sequence[str] | None = None
) -> RowTable:
    """The table of one row for each of these products; without `vectors` and `images` each has its own."""
    views = tuple(list(product_ids[:row]).count(key) for row, key in enumerate(product_ids))
    names = (f"{key}/{view}" for key, view in zip(product_ids, views, strict=True))
    own_images = (hashlib.sha256(name.encode()).hexdigest() for name in names)
    return RowTable(tuple(product_ids), views, tuple(images or own_images), tuple(vectors or range(len(product_ids))))


def image_of(embedding: NDArray[np.float32]) -> str:
    """A digest that stands for the picture with this embedding."""
    return hashlib.sha256(embedding.tobytes()).hexdigest()


def embeddings_of(snapshot: Snapshot) -> Embeddings:
    """The embedding of each row."""
    return snapshot.index.read(np.array(snapshot.rows.vectors))


def unit_rows(rows: int, dimension: int = MODEL.dimension, seed: int = 0) -> Embeddings:
    """Random float32 [rows, dimension] of unit length."""
    x = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return _unit(x)


def _unit(x: Embeddings) -> Embeddings:
    rows: Embeddings = x / np.linalg.norm(x, axis=1, keepdims=True)
    return rows


def image_digest(data: bytes) -> str:
    """The digest of an image file."""
    return hashlib.sha256(data).hexdigest()


def picture(seed: int, side: int = 24) -> bytes:
    """A PNG of 4 x 4 coloured fields, different for each seed."""
    fields = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(fields).resize((side, side), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()
