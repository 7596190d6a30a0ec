"""An immutable build of the index: a manifest, the index's files, and the product and vector of each view."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from framematch.catalog.row_checks import RowChecks
from framematch.catalog.snapshots.calibration import Calibration
from framematch.catalog.snapshots.calibration_checks import problem
from framematch.catalog.snapshots.empty_frames import EmptyFrameMatch
from framematch.catalog.snapshots.thresholds import ThresholdEstimate
from framematch.core.arrays import Embeddings
from framematch.core.errors import CatalogError, ModelMismatchError
from framematch.vector_index.array_file import map_array, write_array
from framematch.vector_index.description import RECALL_FLOOR, IndexDescription
from framematch.vector_index.files import file_names
from framematch.vector_index.index import VectorIndex, open_index
from framematch.vision.manifest import ModelManifest
from framematch.vision.preprocess import Preprocessor, Variant

# 2 added the kind of the index, distinct vectors, the pictures of views, and the delta.
FORMAT_VERSION: Final = 2
ROWS_FILE: Final = "rows.json"
NOTHING_FILE: Final = "nothing.npy"  # float32 [nothing, D]; not there without any
_BLOCK_ROWS = 8_192
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
REBUILD_HINT = "Run 'framematch catalog build'"


@dataclass(frozen=True)
class FileInfo:
    """A file's SHA-256 in hexadecimal, and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class SnapshotManifest:
    """Describes a snapshot, and the model and preprocessing that it needs. `created_at` is RFC 3339.

    `rows` counts views, `vectors` their distinct embeddings. The snapshot contains every change of the catalogue up to
    `catalog_version`, and every single change up to the number `delta`. `empty_frames` are those that would reach the
    match threshold. Without `calibration` the thresholds are an estimate, whose rates are not known. `nothing` counts
    the vectors of pictures that show no product, by which an empty scene is recognised. They are beside the index, so
    they are neither rows nor products.
    """

    id: str
    created_at: str
    catalog_version: int
    model_name: str
    model_digest: str
    preprocessing_variant: Variant
    preprocessing_digest: str
    dimension: int
    metric: Literal["inner_product"]
    rows: int
    vectors: int
    products: int
    index: IndexDescription
    files: dict[str, FileInfo]
    thresholds: ThresholdEstimate
    delta: int = 0
    format_version: int = FORMAT_VERSION
    empty_frames: tuple[EmptyFrameMatch, ...] = ()
    calibration: Calibration | None = None
    nothing: int = 0


@dataclass(frozen=True)
class RowTable:
    """One entry for each view: its product, its number among the product's views from 0, and its picture and vector.

    `images` are SHA-256 digests of the picture files, `vectors` numbers of rows of the index: views that look the same
    share one. `categories` are numbers of `category_names`, -1 for a product without one; empty when no product has
    one, and in the snapshots of older versions.
    """

    product_ids: tuple[str, ...]
    views: tuple[int, ...]
    images: tuple[str, ...]
    vectors: tuple[int, ...]
    categories: tuple[int, ...] = ()
    category_names: tuple[str, ...] = ()

    def category_of_products(self, names: Collection[str] | None = None) -> dict[str, str]:
        """The category of each product that has one, or one of these."""
        wanted = {number for number, name in enumerate(self.category_names) if names is None or name in names}
        found = zip(self.product_ids, self.categories, strict=False)
        return {product_id: self.category_names[number] for product_id, number in found if number in wanted}


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot, opened for searching. `nothing` are the vectors of pictures without a product, [N, D]."""

    manifest: SnapshotManifest
    rows: RowTable
    index: VectorIndex
    nothing: Embeddings


def is_snapshot_id(value: object) -> bool:
    """Whether it may be the id of a snapshot, which is also the name of a folder."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def check_compatible(manifest: SnapshotManifest, model: ModelManifest) -> None:
    """Refuse a snapshot whose embeddings cannot be compared with those of the served model.

    Raises:
        ModelMismatchError: another model, preprocessing or dimension; the message names both sides.
    """
    preprocessing = Preprocessor(model.preprocess, manifest.preprocessing_variant).digest
    if manifest.dimension != model.dimension:
        built_with, served = f"dimension {manifest.dimension}", f"{model.dimension}"
    elif manifest.model_digest != model.digest:
        built_with = f"model {manifest.model_name} {manifest.model_digest[:12]}"
        served = f"{model.name} {model.digest[:12]}"
    elif manifest.preprocessing_digest != preprocessing:
        built_with, served = f"preprocessing {manifest.preprocessing_digest[:12]}", preprocessing[:12]
    else:
        return
    raise ModelMismatchError(
        f"snapshot {manifest.id} was built with {built_with}, Triton serves {served}", hint=REBUILD_HINT
    )


def check_recall(manifest: SnapshotManifest) -> None:
    """Refuse a snapshot whose index finds too little of what an exact search finds.

    Raises:
        CatalogError: its recall is below the floor.
    """
    if not manifest.index.reaches_floor:
        found = min(manifest.index.recall_at_1, manifest.index.recall_at_10)
        raise CatalogError(
            f"the {manifest.index.kind} index of snapshot {manifest.id} finds {found:.1%} of what an exact search "
            f"finds, less than {RECALL_FLOOR:.0%}",
            hint="Build again with another snapshots.index_kind, or with more snapshots.index_memory_mb",
        )


def write_rows(rows: RowTable, folder: Path) -> None:
    """Write the table to its file in `folder`, a block of rows on each line; deterministic."""
    with (folder / ROWS_FILE).open("wb") as file:
        for start in range(0, len(rows.product_ids), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            block = RowTable(
                rows.product_ids[part],
                rows.views[part],
                rows.images[part],
                rows.vectors[part],
                rows.categories[part],
                () if start else rows.category_names,
            )
            file.write(msgspec.json.encode(block) + b"\n")


def write_nothing(vectors: Embeddings, folder: Path) -> None:
    """Write the vectors of pictures that show nothing, [N, D], to their file in `folder`; no file without any."""
    if len(vectors):
        write_array(folder / NOTHING_FILE, vectors)


def describe_files(folder: Path, description: IndexDescription, *, nothing: int = 0) -> dict[str, FileInfo]:
    """The manifest's entries for the files of a snapshot, which are in `folder`."""
    return {name: _describe(folder / name) for name in sorted(snapshot_files(description, nothing=nothing))}


def snapshot_files(description: IndexDescription, *, nothing: int = 0) -> frozenset[str]:
    """The names of a snapshot's files."""
    return file_names(description.kind) | {ROWS_FILE} | ({NOTHING_FILE} if nothing else frozenset())


def _describe(path: Path) -> FileInfo:
    with path.open("rb") as file:
        return FileInfo(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def check_manifest(manifest: SnapshotManifest) -> None:
    """Refuse a manifest that this version cannot use.

    Raises:
        CatalogError: another format version, unknown files, an id that is no folder name, or figures that cannot be.
    """
    if manifest.format_version != FORMAT_VERSION:
        raise CatalogError(
            f"snapshot {manifest.id!r} has format {manifest.format_version}, this version reads {FORMAT_VERSION}",
            hint=REBUILD_HINT,
        )
    files = snapshot_files(manifest.index, nothing=manifest.nothing)
    if not is_snapshot_id(manifest.id) or set(manifest.files) != files or manifest.nothing < 0:
        raise CatalogError(f"the manifest of snapshot {manifest.id!r} is not one of ours", hint=REBUILD_HINT)
    if min(manifest.rows, manifest.vectors, manifest.products, manifest.dimension) < 1:
        raise CatalogError(f"snapshot {manifest.id} has no product", hint=REBUILD_HINT)
    match, margin = manifest.thresholds.match, manifest.thresholds.margin
    if not (0 < match <= 1 and 0 <= margin <= 1):  # NaN fails too
        raise CatalogError(
            f"snapshot {manifest.id} has the thresholds match {match:.3f} and margin {margin:.3f}, which cannot be",
            hint=REBUILD_HINT,
        )
    if manifest.calibration is not None and (field := problem(manifest.calibration)):
        raise CatalogError(
            f"snapshot {manifest.id} has a calibration whose {field} cannot be",
            hint="Run 'framematch catalog calibrate'",
        )


def is_intact(path: Path, info: FileInfo) -> bool:
    """Whether the file exists with the size and SHA-256 of the manifest.

    That finds damage. It is no protection from somebody who can write to MongoDB: he writes the manifest too.
    """
    try:
        return path.stat().st_size == info.bytes and _describe(path) == info
    except OSError:  # also: of another user
        return False


def open_snapshot(manifest: SnapshotManifest, folder: Path) -> Snapshot:
    """Open the files in `folder`, whoever wrote them.

    Raises:
        CatalogError: they are not of the type that a build writes, or do not agree with the manifest.
    """
    rows = read_rows(manifest, folder)
    try:
        index = open_index(folder, manifest.index, vectors=manifest.vectors, dimension=manifest.dimension)
        nothing = _read_nothing(manifest, folder)
    except (ValueError, OSError) as error:
        raise _unreadable(manifest, str(error)) from error
    return Snapshot(manifest, rows, index, nothing)


def _read_nothing(manifest: SnapshotManifest, folder: Path) -> Embeddings:
    """The vectors in memory: there are few. ValueError if they are none."""
    shape = (manifest.nothing, manifest.dimension)
    if not manifest.nothing:
        return np.empty(shape, np.float32)
    vectors = np.array(map_array(folder / NOTHING_FILE, np.float32, shape))
    if not np.isfinite(vectors).all():
        raise ValueError(f"{NOTHING_FILE} has values that are not finite")
    return vectors


def read_rows(manifest: SnapshotManifest, folder: Path) -> RowTable:
    """Read the table alone, a block at a time: other threads of the process run in between.

    Raises:
        CatalogError: it is not one that a build writes, or does not agree with the manifest.
    """
    blocks, checks = [], RowChecks()
    try:
        with (folder / ROWS_FILE).open("rb") as file:
            for line in file:
                block = msgspec.json.decode(line, type=RowTable)
                blocks.append(block)
                checks.add(block.product_ids, block.views, block.images, block.vectors)
    except (ValueError, ArithmeticError, OSError) as error:  # msgspec's errors are ValueErrors
        raise _unreadable(manifest, str(error)) from error
    if what := checks.problem(manifest.rows, manifest.products, manifest.vectors):
        raise _unreadable(manifest, f"{ROWS_FILE} {what}")
    rows = RowTable(
        tuple(chain.from_iterable(block.product_ids for block in blocks)),
        tuple(chain.from_iterable(block.views for block in blocks)),
        tuple(chain.from_iterable(block.images for block in blocks)),
        tuple(chain.from_iterable(block.vectors for block in blocks)),
        tuple(chain.from_iterable(block.categories for block in blocks)),
        tuple(chain.from_iterable(block.category_names for block in blocks)),
    )
    if rows.categories and (
        len(rows.categories) != manifest.rows
        or min(rows.categories) < -1
        or max(rows.categories) >= len(rows.category_names)
    ):
        raise _unreadable(manifest, f"{ROWS_FILE} has categories that do not fit its rows")
    return rows


def _unreadable(manifest: SnapshotManifest, reason: str) -> CatalogError:
    return CatalogError(f"snapshot {manifest.id} cannot be read: {reason}", hint=REBUILD_HINT)
