"""The doctor's checks of catalogue, index, Triton and model: what makes a consumer refuse to start is a `no`."""

from functools import partial
from typing import TYPE_CHECKING

from framematch.cli.database import open_database
from framematch.cli.doctor_snapshots import check_snapshots
from framematch.cli.finding import Checked, Finding, guarded
from framematch.core.errors import (
    CatalogError,
    ModelError,
    ModelMismatchError,
    PrerequisiteError,
    StorageUnavailableError,
)
from framematch.core.paths import state_dir
from framematch.core.settings import MatchingSettings, Settings
from framematch.core.settings_sources import require

if TYPE_CHECKING:
    from framematch.catalog.snapshots.snapshot import SnapshotManifest
    from framematch.vision.manifest import ModelManifest

_TRITON_TIMEOUT_MAX_S = 3.0


async def check_matching(settings: Settings) -> list[Finding]:
    """Everything that a consumer matches with, checked by the functions that it starts with."""
    catalogue = await guarded("MongoDB", _catalogue, settings)
    active = catalogue.found[0] if catalogue.found else None
    model = await guarded("Triton", partial(_model, active=active), settings)
    if catalogue.found is None:
        return [*catalogue.findings, *model.findings]
    index = _index(*catalogue.found, model.found, settings.matching)
    around = await guarded("Index", partial(check_snapshots, active=catalogue.found[0]), settings)
    return [*catalogue.findings, *index, *around.findings, *model.findings]


async def _catalogue(settings: Settings) -> "Checked[tuple[SnapshotManifest, bool]]":
    """Products and index; finds the active snapshot's manifest, if it can be loaded, and whether a build is due."""
    from framematch.catalog.changes.delta_log import newest_number
    from framematch.catalog.products import ProductStore
    from framematch.catalog.snapshots.storage import open_storage
    from framematch.catalog.snapshots.store import load_snapshot

    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    async with open_database(settings) as database:
        store = ProductStore(database)
        count, version = await store.count(), await store.catalog_version()
        products = Finding("Products", count > 0, str(count), "" if count else "Run framematch catalog import FILE")
        findings = [Finding("MongoDB", True, uri), products]
        try:
            storage = open_storage(settings.snapshots.url, database)
            snapshot = await load_snapshot(database, storage, state_dir() / "snapshots")
        except (CatalogError, StorageUnavailableError, PrerequisiteError) as error:
            return Checked([*findings, Finding("Index", False, error.message, error.hint)])
        built = snapshot.manifest
        # Each change of a single product is searched beside the snapshot. An import is searched after a build.
        single_changes = await newest_number(database) - built.delta
        build_is_due = not built.catalog_version <= version <= built.catalog_version + single_changes
    return Checked([*findings, *calibration_findings(built, count)], (built, build_is_due))


def calibration_findings(manifest: "SnapshotManifest", products: int) -> list[Finding]:
    """Whether the catalogue has grown too much since the calibration; what cameras see is a finding of its own."""
    from framematch.matching.drift import GROWTH_LIMIT

    if manifest.calibration is None:
        return []
    calibrated = manifest.calibration.products
    text = f"of {manifest.calibration.at[:10]}, with {calibrated} products"
    if products >= GROWTH_LIMIT * calibrated:
        return [Finding("Calibration", None, f"{text}; there are {products} now", "Run framematch catalog calibrate")]
    return [Finding("Calibration", True, text)]


async def _model(settings: Settings, active: "SnapshotManifest | None") -> "Checked[ModelManifest]":
    """The model that the active snapshot needs, as consumers use it, or the newest built."""
    from framematch.vision.encoder import ImageEncoder
    from framematch.vision.jpeg_encoder import JpegEncoder

    kind: type[ImageEncoder] = JpegEncoder if settings.consumer.decode == "server" else ImageEncoder
    digest = active.model_digest if active else None

    url = require(settings.triton.url, "triton.url")
    timeout_s = min(settings.triton.timeout_s, _TRITON_TIMEOUT_MAX_S)
    try:
        async with await kind.connect(url, digest, timeout_s=timeout_s, key=settings.triton.key) as encoder:
            manifest = encoder.manifest
            if active:
                encoder.require_preprocessing(active.preprocessing_digest)
    except ModelError as error:
        return Checked([Finding("Triton", True, url), Finding("Model", False, error.message, error.hint)])
    served = f"{manifest.name} ({manifest.digest[:12]}), {manifest.dimension} dimensions"
    return Checked([Finding("Triton", True, url), Finding("Model", True, served)], manifest)


def _index(
    manifest: "SnapshotManifest", build_is_due: bool, model: "ModelManifest | None", settings: MatchingSettings
) -> list[Finding]:
    """Whether the index fits the served model and the catalogue, and what its thresholds are worth."""
    from framematch.catalog.snapshots.snapshot import REBUILD_HINT, check_compatible, check_recall

    try:
        if model is not None:
            check_compatible(manifest, model)
        check_recall(manifest)
    except (ModelMismatchError, CatalogError) as error:
        return [Finding("Index", False, error.message, error.hint)]
    if build_is_due:
        index = Finding("Index", None, f"{manifest.id}, older than the catalogue", REBUILD_HINT)
    else:
        index = Finding("Index", True, f"{manifest.id}, {manifest.rows} rows of {manifest.model_name}")
    return [index, _thresholds(manifest, settings)]


def _thresholds(manifest: "SnapshotManifest", settings: MatchingSettings) -> Finding:
    estimate = manifest.thresholds
    match = estimate.match if settings.threshold is None else settings.threshold
    margin = estimate.margin if settings.margin is None else settings.margin
    basis = estimate.explain() if settings.threshold is None else "set by hand. The false-accept rate is not known"
    reached = sum(found.score >= match for found in manifest.empty_frames)
    hint = f"Raise matching.threshold: {reached} frames that show nothing reach it" if reached else ""
    return Finding("Thresholds", None if reached else True, f"match {match:.3f}, margin {margin:.3f}: {basis}", hint)
