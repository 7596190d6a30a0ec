"""An immutable build of the index: manifest, vectors, and the product of each row."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from framematch.catalog.empty_frames import EmptyFrameMatch
from framematch.catalog.index_file import encode_vectors, read_vectors
from framematch.catalog.thresholds import ThresholdEstimate
from framematch.core.arrays import Embeddings
from framematch.core.errors import CatalogError, ModelMismatchError
from framematch.vision.manifest import ModelManifest
from framematch.vision.preprocess import Preprocessor, Variant

FORMAT_VERSION: Final = 1
INDEX_FILE: Final = "index.faiss"
ROWS_FILE: Final = "rows.json"
_FILES = {INDEX_FILE, ROWS_FILE}
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

    `empty_frames` are those that would reach the match threshold; none in a snapshot of an older version.
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
    products: int
    files: dict[str, FileInfo]
    thresholds: ThresholdEstimate
    format_version: int = FORMAT_VERSION
    empty_frames: tuple[EmptyFrameMatch, ...] = ()


@dataclass(frozen=True)
class RowTable:
    """For each row of the embeddings its product, and the number of the product's view, from 0."""

    product_ids: tuple[str, ...]
    views: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot in memory."""

    manifest: SnapshotManifest
    embeddings: Embeddings
    rows: RowTable


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


def pack(embeddings: Embeddings, rows: RowTable) -> dict[str, bytes]:
    """The snapshot's files by name; deterministic."""
    return {INDEX_FILE: encode_vectors(embeddings), ROWS_FILE: msgspec.json.encode(rows)}


def describe(files: dict[str, bytes]) -> dict[str, FileInfo]:
    """The manifest's entries for these files."""
    return {name: FileInfo(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}


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
    if not is_snapshot_id(manifest.id) or set(manifest.files) != _FILES:
        raise CatalogError(f"the manifest of snapshot {manifest.id!r} is not one of ours", hint=REBUILD_HINT)
    if min(manifest.rows, manifest.products, manifest.dimension) < 1:
        raise CatalogError(f"snapshot {manifest.id} has no product", hint=REBUILD_HINT)
    match, margin = manifest.thresholds.match, manifest.thresholds.margin
    if not (0 < match <= 1 and 0 <= margin <= 1):  # NaN fails too
        raise CatalogError(
            f"snapshot {manifest.id} has the thresholds match {match:.3f} and margin {margin:.3f}, which cannot be",
            hint=REBUILD_HINT,
        )


def is_intact(path: Path, info: FileInfo) -> bool:
    """Whether the file exists with the size and SHA-256 of the manifest.

    That finds damage. It is no protection from somebody who can write to MongoDB: he writes the manifest too.
    """
    try:
        if path.stat().st_size != info.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == info.sha256
    except OSError:  # also: of another user
        return False


def read_snapshot(manifest: SnapshotManifest, folder: Path) -> Snapshot:
    """Read the files in `folder`, whoever wrote them.

    Raises:
        CatalogError: they are not of the type that a build writes, or do not agree with the manifest.
    """
    try:
        embeddings = read_vectors(folder / INDEX_FILE, manifest.rows, manifest.dimension)
        rows = msgspec.json.decode((folder / ROWS_FILE).read_bytes(), type=RowTable)
    except (ValueError, OSError) as error:  # msgspec's errors are ValueErrors
        raise CatalogError(f"snapshot {manifest.id} cannot be read: {error}", hint=REBUILD_HINT) from error
    if not manifest.rows == len(rows.product_ids) == len(rows.views):
        raise CatalogError(
            f"snapshot {manifest.id} cannot be read: {ROWS_FILE} does not have {manifest.rows} rows", hint=REBUILD_HINT
        )
    if len(set(rows.product_ids)) != manifest.products:
        raise CatalogError(
            f"snapshot {manifest.id} cannot be read: {ROWS_FILE} does not have {manifest.products} products",
            hint=REBUILD_HINT,
        )
    return Snapshot(manifest, embeddings, rows)
