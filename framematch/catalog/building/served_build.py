"""Builds a snapshot with a model that Triton serves, and makes it the active one."""

from dataclasses import dataclass, field
from pathlib import Path

from framematch.catalog.building.build import BuildOptions, BuildReport
from framematch.catalog.building.stored_build import Builder, Calibrate, activate_built, active_snapshot
from framematch.catalog.changes.served_models import embed_changes
from framematch.catalog.mongo import Database
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage import open_storage
from framematch.core.errors import ModelError
from framematch.core.progress import OnProgress
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor, Variant
from framematch.vision.served_models import list_served_models


@dataclass(frozen=True)
class ServedBuild:
    """How to build: `model` is the start of the digest of a served model, None the newest; `report` is filled in.

    `calibrate` may add a calibration to the snapshot.
    """

    preprocessing: Variant = "fast"
    model: str | None = None
    activate: bool = True
    report: BuildReport = field(default_factory=BuildReport)
    calibrate: Calibrate | None = None


async def build_served(
    settings: Settings, database: Database, cache_dir: Path, wanted: ServedBuild, on_progress: OnProgress
) -> tuple[SnapshotManifest, str | None]:
    """Build and store a snapshot; returns it, and the active snapshot if this one was to be activated.

    Raises:
        CatalogError: see `Builder.build` and `activate_built`.
        ModelError: Triton does not serve the model, or it returned something that is no embedding.
        UnavailableError: MongoDB, Triton or the storage became unavailable.
    """
    triton, options = settings.triton, settings.snapshots
    url = require(triton.url, "triton.url")
    digest = None if wanted.model is None else await _served_digest(url, wanted.model, triton.timeout_s)
    async with await ImageEncoder.connect(url, digest, timeout_s=triton.timeout_s, key=triton.key) as encoder:
        builder = Builder(ProductStore(database), open_storage(options.url, database), cache_dir)
        active_before = await active_snapshot(database)
        manifest = await builder.build(
            encoder,
            Preprocessor(encoder.manifest.preprocess, wanted.preprocessing),
            BuildOptions(options.index_kind, options.index_memory_mb),
            on_progress,
            wanted.report,
            calibrate=wanted.calibrate,
        )
        if not wanted.activate:
            return manifest, None
        await embed_changes(settings, database, [manifest.id])
        active = await activate_built(database, manifest, active_before)
        await embed_changes(settings, database, [manifest.id])  # what was changed meanwhile
        return manifest, active


async def _served_digest(url: str, start: str, timeout_s: float) -> str:
    """The digest of the one served model whose digest starts so.

    Raises:
        ModelError: there is none, or there are several.
        TritonUnavailableError: Triton does not answer.
    """
    served = await list_served_models(url, timeout_s=timeout_s)
    found = [each.manifest.digest for each in served if each.manifest.digest.startswith(start.lower())]
    if len(found) != 1:
        models = ", ".join(f"{each.manifest.digest[:12]} ({each.manifest.name})" for each in served) or "none"
        raise ModelError(
            f"Triton serves {len(found) or 'no'} models whose digest starts with {start!r}",
            hint=f"It serves these models: {models}",
        )
    return found[0]
