"""An immutable build of the index: manifest, FAISS index, and the product of each row."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import faiss
import msgspec

from framematch.catalog.thresholds import ThresholdEstimate
from framematch.core.errors import CatalogError, ModelMismatchError
from framematch.vision.manifest import ModelManifest
from framematch.vision.preprocess import Preprocessor, Variant

FORMAT_VERSION: Final = 1
INDEX_FILE: Final = "index.faiss"
ROWS_FILE: Final = "rows.json"
_FILES = {INDEX_FILE, ROWS_FILE}
# An id is also the name of a folder.
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
REBUILD_HINT = "Run 'framematch catalog build'"


@dataclass(frozen=True)
class FileInfo:
    """A file's SHA-256 in hexadecimal, and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class SnapshotManifest:
    """Describes a snapshot, and the model and preprocessing that it needs. `created_at` is RFC 3339."""

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


@dataclass(frozen=True)
class RowTable:
    """For each row of the index its product, and the number of the product's view, from 0."""

    product_ids: tuple[str, ...]
    views: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot in memory."""

    manifest: SnapshotManifest
    index: faiss.Index
    rows: RowTable


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


def pack(index: faiss.Index, rows: RowTable) -> dict[str, bytes]:
    """The snapshot's files by name; deterministic."""
    return {INDEX_FILE: faiss.serialize_index(index).tobytes(), ROWS_FILE: msgspec.json.encode(rows)}


def describe(files: dict[str, bytes]) -> dict[str, FileInfo]:
    """The manifest's entries for these files."""
    return {name: FileInfo(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}


def check_manifest(manifest: SnapshotManifest) -> None:
    """Refuse a manifest that this version cannot use.

    Raises:
        CatalogError: another format version, unknown files, or an id that is no folder name.
    """
    if manifest.format_version != FORMAT_VERSION:
        raise CatalogError(
            f"snapshot {manifest.id!r} has format {manifest.format_version}, this version reads {FORMAT_VERSION}",
            hint=REBUILD_HINT,
        )
    if not _ID.fullmatch(manifest.id) or set(manifest.files) != _FILES:
        raise CatalogError(f"the manifest of snapshot {manifest.id!r} is not one of ours", hint=REBUILD_HINT)


def is_intact(path: Path, info: FileInfo) -> bool:
    """Whether the file exists with the size and SHA-256 of the manifest."""
    try:
        if path.stat().st_size != info.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == info.sha256
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_snapshot(manifest: SnapshotManifest, folder: Path) -> Snapshot:
    """Read the files in `folder`. They must be intact (`is_intact`), as FAISS does not validate what it reads.

    Raises:
        CatalogError: they do not agree with the manifest.
    """
    try:
        index = faiss.read_index(str(folder / INDEX_FILE))
        rows = msgspec.json.decode((folder / ROWS_FILE).read_bytes(), type=RowTable)
    except (RuntimeError, msgspec.DecodeError) as error:
        raise CatalogError(f"snapshot {manifest.id} cannot be read: {error}", hint=REBUILD_HINT) from error
    agreed = (
        index.d == manifest.dimension
        and index.metric_type == faiss.METRIC_INNER_PRODUCT
        and index.ntotal == manifest.rows == len(rows.product_ids) == len(rows.views)
    )
    if not agreed:
        raise CatalogError(f"the files of snapshot {manifest.id} do not agree with its manifest", hint=REBUILD_HINT)
    return Snapshot(manifest, index, rows)
