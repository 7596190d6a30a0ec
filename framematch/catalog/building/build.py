"""Builds an index snapshot: the vectors of all pictures of the catalogue, their index, and thresholds."""

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from framematch.catalog.building.catalogue_views import CatalogueViews, list_views
from framematch.catalog.changes.delta_log import newest_number
from framematch.catalog.embeddings.picture_embedder import Encoder, PictureEmbedder
from framematch.catalog.embeddings.store import EmbeddingSpace, EmbeddingStore
from framematch.catalog.embeddings.vectors_on_disk import create_vectors, keep_rows
from framematch.catalog.products import ProductStore
from framematch.catalog.samples.embedder import SampleEmbedder
from framematch.catalog.samples.nothing import nothing_rows
from framematch.catalog.samples.store import SampleStore
from framematch.catalog.shared_pictures import PictureOwners
from framematch.catalog.snapshots.empty_frames import EmptyFrameMatch, match_empty_frames
from framematch.catalog.snapshots.nearest import nearest
from framematch.catalog.snapshots.snapshot import (
    FileInfo,
    RowTable,
    SnapshotManifest,
    describe_files,
    write_nothing,
    write_rows,
)
from framematch.catalog.snapshots.thresholds import SAME_PICTURE, SHARED, ThresholdEstimate, estimate_thresholds
from framematch.core.arrays import Embeddings
from framematch.core.errors import CatalogError
from framematch.core.progress import OnProgress
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.vector_index.build import build_index
from framematch.vector_index.description import IndexDescription, Kind
from framematch.vector_index.distinct import distinct_rows
from framematch.vector_index.sizes import choose_kind
from framematch.vision.preprocess import Preprocessor

log = structlog.get_logger()

_VECTORS_FILE = ".vectors"


@dataclass(frozen=True)
class BuildOptions:
    """The kind of the index, or None for the one that fits its size in `memory_mb`; without it, in any memory."""

    kind: Kind | None = None
    memory_mb: float | None = None


@dataclass
class BuildReport:
    """What a build has done, beside the snapshot: the pictures of all products, and how many were embedded anew.

    `nothing_like_products` counts the pictures labelled as showing nothing that look like a product's: they are left
    out.
    """

    owners: PictureOwners = field(default_factory=PictureOwners)
    pictures: int = 0
    new_pictures: int = 0
    nothing_like_products: int = 0


def new_snapshot_id() -> str:
    """An id that starts with the time, so that ids are in the order of their builds."""
    return f"{to_rfc3339(now_us())[:19].translate(str.maketrans('', '', '-:'))}Z-{uuid.uuid4().hex[:8]}"


async def build_snapshot(
    store: ProductStore,
    encoder: Encoder,
    preprocessor: Preprocessor,
    folder: Path,
    *,
    snapshot_id: str | None = None,
    options: BuildOptions | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
    report: BuildReport | None = None,
) -> SnapshotManifest:
    """Embed what is new in the catalogue, try empty frames against it, and write the snapshot's files into `folder`.

    A picture that several products have is embedded once. `on_progress` counts pictures. Memory: the table of the
    rows, the pixels of a few batches, up to `BATCHES_IN_FLIGHT` times `FETCHED_IMAGES` image files, and what the kind
    of the index needs. The embeddings are in a file in `folder`, which is deleted at the end.

    Raises:
        CatalogError: the catalogue is empty, an image is missing or damaged, or `folder` cannot be written.
        ModelError: the model returned something that is no embedding.
        UnavailableError: MongoDB or Triton became unavailable.
    """
    # Both before the products are read. What changes meanwhile may be in the snapshot, and is in the delta after it.
    delta = await newest_number(store.database)
    version = await store.catalog_version()
    report = report or BuildReport()
    views = await list_views(store, report.owners)
    space = EmbeddingSpace(encoder.manifest.digest, preprocessor.digest, encoder.manifest.dimension)
    embedder = PictureEmbedder(store, EmbeddingStore(store.database, space), encoder, preprocessor)
    try:
        made = await _make(views, embedder, folder, options or BuildOptions(), on_progress=on_progress, report=report)
    except OSError as error:
        reason = error.strerror or error
        raise CatalogError(f"cannot write to {folder}: {reason}", hint="Check space and rights") from error
    manifest = SnapshotManifest(
        id=snapshot_id or new_snapshot_id(),
        created_at=to_rfc3339(now_us()),
        catalog_version=version,
        model_name=encoder.manifest.name,
        model_digest=space.model_digest,
        preprocessing_variant=preprocessor.variant,
        preprocessing_digest=space.preprocessing_digest,
        dimension=space.dimension,
        metric="inner_product",
        rows=len(views.product_ids),
        vectors=made.vectors,
        products=views.products,
        index=made.index,
        files=made.files,
        thresholds=made.thresholds,
        delta=delta,
        empty_frames=made.empty_frames,
        nothing=made.nothing,
    )
    log.info(
        "snapshot_built", snapshot=manifest.id, rows=manifest.rows, vectors=manifest.vectors, delta=delta,
        kind=made.index.kind, recall_at_1=made.index.recall_at_1, match_threshold=made.thresholds.match,
        threshold_pairs=made.thresholds.impostors, empty_frames=len(made.empty_frames), nothing=made.nothing,
    )  # fmt: skip
    return manifest


@dataclass(frozen=True)
class _Made:
    """What the files of a snapshot are, the number of its vectors, and what was found out about them."""

    index: IndexDescription
    files: dict[str, FileInfo]
    vectors: int
    thresholds: ThresholdEstimate
    empty_frames: tuple[EmptyFrameMatch, ...]
    nothing: int


async def _make(
    views: CatalogueViews,
    embedder: PictureEmbedder,
    folder: Path,
    options: BuildOptions,
    *,
    on_progress: OnProgress,
    report: BuildReport,
) -> _Made:
    pictures, dimension = views.pictures, embedder.encoder.manifest.dimension
    embeddings = create_vectors(folder / _VECTORS_FILE, len(pictures.digests), dimension)
    report.pictures = len(embeddings)
    report.new_pictures = await embedder.embed(pictures, embeddings, on_progress)
    first_pictures, vector_of_picture = await asyncio.to_thread(distinct_rows, embeddings)
    row_vectors = vector_of_picture[views.picture_numbers]
    vectors = keep_rows(embeddings, first_pictures)
    owners = _owners(row_vectors, views.product_numbers, len(vectors))
    thresholds = await asyncio.to_thread(estimate_thresholds, vectors, owners)
    product_ids = [pictures.product_ids[number] for number in first_pictures]
    empty_frames = await match_empty_frames(
        embedder.encoder.embed, embedder.preprocessor.spec, vectors, product_ids, thresholds.match
    )
    nothing = await _nothing(embedder, vectors, report)
    write_nothing(nothing, folder)
    vector_numbers = tuple(row_vectors.tolist())
    write_rows(
        RowTable(
            views.product_ids, views.numbers, views.images, vector_numbers, views.categories, views.category_names
        ),
        folder,
    )
    kind = options.kind or choose_kind(len(vectors), dimension, options.memory_mb)
    index = await asyncio.to_thread(build_index, vectors, folder, kind)
    (folder / _VECTORS_FILE).unlink()
    files = await asyncio.to_thread(describe_files, folder, index, nothing=len(nothing))
    return _Made(index, files, len(vectors), thresholds, empty_frames, len(nothing))


async def _nothing(embedder: PictureEmbedder, vectors: Embeddings, report: BuildReport) -> Embeddings:
    """The vectors by which an empty scene is recognised. A picture that a product has too shows something."""
    samples = SampleEmbedder(SampleStore(embedder.store.database), embedder.encoder, embedder.preprocessor)
    found = await nothing_rows(samples)
    similarity, _ = await asyncio.to_thread(nearest, found, vectors)
    report.nothing_like_products = int((similarity >= SAME_PICTURE).sum())
    return found[similarity < SAME_PICTURE]


def _owners(row_vectors: NDArray[np.int64], row_products: NDArray[np.int64], vectors: int) -> NDArray[np.int64]:
    """The number of the product that has each vector, or `SHARED`, int64 [vectors]."""
    lowest, highest = np.full(vectors, np.iinfo(np.int64).max), np.full(vectors, -1)
    np.minimum.at(lowest, row_vectors, row_products)
    np.maximum.at(highest, row_vectors, row_products)
    return np.where(lowest == highest, lowest, SHARED)
