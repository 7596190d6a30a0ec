"""Calibrates the active snapshot: keeps new labelled pictures, stores a snapshot with what they state, activates it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path

import structlog

from framematch.catalog.building.build import new_snapshot_id
from framematch.catalog.building.stored_build import Builder, active_snapshot
from framematch.catalog.mongo import Database
from framematch.catalog.operations.activation import activate
from framematch.catalog.products import ProductStore
from framematch.catalog.samples.embedder import SampleEmbedder
from framematch.catalog.samples.folders import FolderContent, read_folder
from framematch.catalog.samples.store import SampleStore
from framematch.catalog.snapshots.snapshot import REBUILD_HINT, Snapshot, SnapshotManifest, check_compatible
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot
from framematch.core.errors import CatalogError, UsageError
from framematch.core.progress import OnProgress
from framematch.core.settings import Settings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.matching.calibrate_snapshot import (
    CalibrationOutcome,
    UsedSamples,
    calibrate_snapshot,
    calibrated_manifest,
)
from framematch.matching.calibration.options import CalibrationOptions, TooFew
from framematch.matching.gate import PictureGate
from framematch.matching.labelled_folders import FolderKeeper, KeptFolders
from framematch.matching.serving.opener import connect_encoder
from framematch.vision.preprocess import Preprocessor

log = structlog.get_logger()

MAX_RATE = 0.5
MIN_GUARANTEE, MAX_GUARANTEE = 0.5, 0.999


@dataclass(frozen=True)
class CalibrationRequest:
    """What to state, and with which pictures beside those that are kept.

    `folders` are given by the option that says what they show (see `read_folder`). `forget` drops the kept pictures of
    earlier folders.
    """

    rate: float = 0.05
    mixup_rate: float = 0.05
    guarantee: float | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    forget: bool = False
    activate: bool = True

    def __post_init__(self) -> None:
        """Check the rates.

        Raises:
            UsageError: one of them is none.
        """
        for name, rate in (("rate", self.rate), ("mixup-rate", self.mixup_rate)):
            if isnan(rate) or not 0 < rate <= MAX_RATE:
                raise UsageError(f"--{name} {rate:g} is not above 0 and at most {MAX_RATE}", hint="5 % is 0.05")
        if self.guarantee is not None and not MIN_GUARANTEE <= self.guarantee <= MAX_GUARANTEE:
            raise UsageError(
                f"--guarantee {self.guarantee:g} is not from {MIN_GUARANTEE} to {MAX_GUARANTEE}",
                hint="0.95: the rates are upper bounds that hold with a probability of 95 %",
            )


@dataclass(frozen=True)
class Reporting:
    """How a run reports: `progress` shows that of a step with this name, `folders` takes what became of the folders."""

    progress: Callable[[str], AbstractContextManager[OnProgress]]
    folders: Callable[[KeptFolders], None] = lambda _kept: None


@dataclass(frozen=True)
class CalibratedSnapshot:
    """The new snapshot, and what it was made of. `active` is the active one, None if it was not to be activated."""

    manifest: SnapshotManifest
    active: str | None
    kept: KeptFolders
    used: UsedSamples


class CannotStateError(CatalogError):
    """The pictures do not suffice to state the rates: nothing was stored, and the active snapshot stays."""


async def calibrate_active(
    settings: Settings,
    database: Database,
    cache_dir: Path,
    request: CalibrationRequest,
    reporting: Reporting,
) -> CalibratedSnapshot:
    """Calibrate the active snapshot with all kept pictures, those of the request among them.

    The new snapshot has its own id, and the files of the active one. It is activated only if the active one is still
    the same. It may be killed at any moment: then nothing but labelled pictures is left, and the next run uses them.

    Raises:
        UsageError: a folder cannot be used, or names a product that the snapshot does not have.
        CannotStateError: there are too few pictures; they are kept.
        CatalogError: no snapshot is active; or labels contradict each other; or the storage refuses.
        StaleNamesError: another snapshot was activated meanwhile; the new one is stored.
        ModelError: Triton does not serve the snapshot's model, or it returned something that is no embedding.
        UnavailableError: MongoDB, Triton or the storage became unavailable.
    """
    contents = await asyncio.to_thread(_read_folders, request.folders)
    active = await active_snapshot(database)
    if active is None:
        raise CatalogError("no snapshot is active, so there is nothing to calibrate", hint=REBUILD_HINT)
    storage = open_storage(settings.snapshots.url, database)
    snapshot = await load_snapshot(database, storage, cache_dir, active)
    try:
        store = SampleStore(database, settings.calibration.max_pictures)
        await _check_products(ProductStore(database), contents, snapshot)
        outcome, kept = await _calibrate(settings, store, snapshot, contents, request, reporting=reporting)
    finally:
        snapshot.index.close()
    if isinstance(outcome.result, TooFew):
        raise CannotStateError(
            outcome.result.explain(),
            hint="Nothing was changed, and the pictures are kept: add others (docs/catalogue.md, 'Calibrate'), or ask "
            "for a higher rate",
        )
    manifest = replace(
        calibrated_manifest(snapshot.manifest, outcome.result),
        id=new_snapshot_id(),
        created_at=to_rfc3339(now_us()),
    )
    await Builder(ProductStore(database), storage, cache_dir).store_again(active, manifest)
    if request.activate:
        await activate(database, manifest.id, expect=active)
    return CalibratedSnapshot(manifest, manifest.id if request.activate else None, kept, outcome.used)


async def _calibrate(
    settings: Settings,
    store: SampleStore,
    snapshot: Snapshot,
    contents: Sequence[FolderContent],
    request: CalibrationRequest,
    *,
    reporting: Reporting,
) -> tuple[CalibrationOutcome, KeptFolders]:
    """Keep the pictures of folders, and calibrate with all that are kept."""
    async with await connect_encoder(settings, snapshot.manifest.model_digest) as encoder:
        check_compatible(snapshot.manifest, encoder.manifest)
        preprocessor = Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant)
        kept = KeptFolders()
        if contents or request.forget:
            keeper = FolderKeeper(store, preprocessor, PictureGate.of(settings.matching))
            catalogue = frozenset(snapshot.rows.images)
            with reporting.progress("Reading") as on_progress:
                kept = await keeper.keep(contents, catalogue=catalogue, forget=request.forget, on_progress=on_progress)
            reporting.folders(kept)
        options = CalibrationOptions(
            at=to_rfc3339(now_us()), rate=request.rate, mixup_rate=request.mixup_rate, guarantee=request.guarantee
        )
        with reporting.progress("Embedding") as on_progress:
            outcome = await calibrate_snapshot(
                snapshot, SampleEmbedder(store, encoder, preprocessor), options, on_progress
            )
    return outcome, kept


def _read_folders(folders: Mapping[str, Path]) -> list[FolderContent]:
    return [read_folder(folder, option) for option, folder in folders.items()]


async def _check_products(store: ProductStore, contents: Sequence[FolderContent], snapshot: Snapshot) -> None:
    """Refuse folders of products that the snapshot does not have.

    Raises:
        UsageError: there are some; the message names them.
    """
    named = {one.product_id for content in contents for one in content.pictures if one.product_id is not None}
    missing = named - frozenset(snapshot.rows.product_ids)
    if not missing:
        return
    if added := await store.existing(missing):
        raise UsageError(
            f"--frames names {_some(added)}, which the active snapshot does not have yet", hint=REBUILD_HINT
        )
    raise UsageError(
        f"--frames names {_some(missing)}, which the catalogue does not have",
        hint="Name the folders by products' ids; pictures of products that the catalogue lacks are for --strangers",
    )


def _some(products: Collection[str]) -> str:
    first = ", ".join(repr(product) for product in sorted(products)[:3])
    return f"{first} and {len(products) - 3} more" if len(products) > 3 else first  # noqa: PLR2004  # shown above
