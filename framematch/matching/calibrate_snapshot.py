"""Calibrates a snapshot with the labelled pictures that are kept, or else with its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from framematch.catalog.embeddings.picture_embedder import Encoder
from framematch.catalog.mongo import Database
from framematch.catalog.samples.embedder import EmbeddedSamples, SampleEmbedder
from framematch.catalog.samples.nothing import is_nothing_row
from framematch.catalog.samples.sample import Sample
from framematch.catalog.samples.store import SampleStore
from framematch.catalog.snapshots.calibration import Calibration
from framematch.catalog.snapshots.names import read_names
from framematch.catalog.snapshots.snapshot import RowTable, Snapshot, SnapshotManifest, open_snapshot
from framematch.catalog.snapshots.store import load_manifest
from framematch.core.arrays import Embeddings
from framematch.core.errors import CatalogError
from framematch.core.progress import OnProgress
from framematch.core.settings import Settings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.matching.calibration.calibrate import calibrate
from framematch.matching.calibration.held_out_views import score_held_out_views
from framematch.matching.calibration.options import Calibrated, CalibrationOptions, TooFew
from framematch.matching.calibration.samples import SampleLabel, SampleScores, score_samples
from framematch.matching.calibration.sightings import sighting_thresholds
from framematch.matching.calibration.voted import sighting_votes
from framematch.matching.decision import Thresholds
from framematch.matching.labelled_folders import check_kept
from framematch.vision.preprocess import Preprocessor

log = structlog.get_logger()


@dataclass(frozen=True)
class UsedSamples:
    """What a calibration was made of.

    `samples` are kept pictures, `views` pictures of the catalogue, each held out. Of the kept ones `removed` show a
    product that the snapshot does not have, so they count as strangers. Left out are `in_catalogue`, pictures of the
    catalogue; `empty_scenes`, by which the snapshot knows an empty scene; and `unusable`, which cannot be embedded.
    `new` were embedded now.
    """

    samples: int = 0
    views: int = 0
    removed: int = 0
    in_catalogue: int = 0
    empty_scenes: int = 0
    unusable: int = 0
    new: int = 0


@dataclass(frozen=True)
class CalibrationOutcome:
    """What can be stated, or why nothing can, and what it was made of."""

    result: Calibrated | TooFew
    used: UsedSamples


async def calibrate_snapshot(
    snapshot: Snapshot,
    embedder: SampleEmbedder,
    options: CalibrationOptions,
    on_progress: OnProgress = lambda _done, _total: None,
) -> CalibrationOutcome:
    """Calibrate with all kept samples that are no pictures of the snapshot.

    Without one of a product, the snapshot's own pictures stand for those of products, each held out in turn.

    Raises:
        CatalogError: two samples contradict each other.
        EmbeddingError: the model returned something that is no embedding.
        UnavailableError: MongoDB or Triton became unavailable.
    """
    kept = [sample async for sample in embedder.store.read()]
    check_kept(kept)
    images = frozenset(snapshot.rows.images)
    # In the order of their frames, as their votes are counted in it.
    held_out = sorted((sample for sample in kept if sample.image not in images), key=lambda sample: sample.at)
    in_catalogue = len(kept) - len(held_out)
    if snapshot.manifest.nothing:
        held_out = [sample for sample in held_out if not is_nothing_row(sample)]
    embedded = await embedder.embed(held_out, on_progress)
    labels = _labels(embedded.samples, snapshot.rows)
    scores = await asyncio.to_thread(score_samples, snapshot, embedded.embeddings, labels)
    views = 0
    if all(label.kind != "product" for label in labels):
        own = await asyncio.to_thread(score_held_out_views, snapshot)
        views, scores = len(own), replace(scores, samples=scores.samples + own)
    used = replace(
        _used(embedded, labels),
        views=views,
        in_catalogue=in_catalogue,
        empty_scenes=len(kept) - in_catalogue - len(held_out),
    )
    result = await asyncio.to_thread(_calibrate, scores, embedded.embeddings, options)
    if isinstance(result, Calibrated):
        result = replace(result, calibration=replace(result.calibration, views=views))
    log.info("snapshot_calibrated", snapshot=snapshot.manifest.id, samples=used.samples, views=used.views,
             states=isinstance(result, Calibrated))  # fmt: skip
    return CalibrationOutcome(result, used)


def _labels(samples: Sequence[Sample], rows: RowTable) -> list[SampleLabel]:
    """What they show; a product that the snapshot does not have is one that nobody may find."""
    products = frozenset(rows.product_ids)
    labels = (SampleLabel(sample.label, sample.group, sample.product_id) for sample in samples)
    return [
        replace(label, kind="stranger") if label.kind == "product" and label.product_id not in products else label
        for label in labels
    ]


def _used(embedded: EmbeddedSamples, labels: Sequence[SampleLabel]) -> UsedSamples:
    pairs = zip(embedded.samples, labels, strict=True)
    return UsedSamples(
        samples=len(embedded.samples),
        removed=sum(sample.label != label.kind for sample, label in pairs),
        unusable=len(embedded.unusable),
        new=embedded.new,
    )


def _calibrate(scores: SampleScores, embeddings: Embeddings, options: CalibrationOptions) -> Calibrated | TooFew:
    if not scores.samples:
        return TooFew(
            options.rate,
            problem="no labelled picture is kept, and no product has several pictures of which one could be held out",
        )
    if scores.products == 1 and all(sample.label.kind == "product" for sample in scores.samples):
        return TooFew(
            options.rate,
            problem="the catalogue has one product, which nothing can be mixed up with: pictures of other products, or "
            "of none, are needed",
        )
    result = calibrate(scores, options)
    return result if isinstance(result, TooFew) else _with_sightings(result, scores, embeddings, options)


def _with_sightings(
    result: Calibrated, scores: SampleScores, embeddings: Embeddings, options: CalibrationOptions
) -> Calibrated:
    """With thresholds of sightings too, where enough pictures belong together."""
    thresholds = Thresholds(result.thresholds.match, result.thresholds.margin)
    votes = sighting_votes(scores, embeddings, thresholds, result.calibration.curve)
    demanded = sighting_thresholds(votes, rate=options.rate, mixup_rate=options.mixup_rate, guarantee=options.guarantee)
    if isinstance(demanded, TooFew):
        return result
    return replace(result, calibration=replace(result.calibration, sightings=demanded))


def calibrated_manifest(manifest: SnapshotManifest, result: Calibrated) -> SnapshotManifest:
    """The manifest with these thresholds and what they state."""
    reaching = tuple(frame for frame in manifest.empty_frames if frame.score >= result.thresholds.match)
    return replace(manifest, thresholds=result.thresholds, calibration=result.calibration, empty_frames=reaching)


def options_of(calibration: Calibration) -> CalibrationOptions:
    """What an earlier calibration was asked for, to be stated again now."""
    return CalibrationOptions(
        at=to_rfc3339(now_us()),
        rate=calibration.rate,
        mixup_rate=calibration.mixup_rate,
        guarantee=calibration.guarantee,
    )


class BuildCalibration:
    """Calibrates a snapshot while it is built, as the active one is; `said` tells what became of it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._max_pictures = settings.calibration.max_pictures
        self._database = database
        self.said = ""

    async def __call__(
        self, manifest: SnapshotManifest, folder: Path, encoder: Encoder, preprocessor: Preprocessor
    ) -> SnapshotManifest:
        """The manifest of the snapshot in `folder`, with a calibration if the active one has one and it can be stated.

        Raises:
            EmbeddingError: the model returned something that is no embedding.
            UnavailableError: MongoDB or Triton became unavailable.
        """
        wanted = await self._active_calibration()
        if wanted is None:
            return manifest
        snapshot = await asyncio.to_thread(open_snapshot, manifest, folder)
        try:
            store = SampleStore(self._database, self._max_pictures)
            embedder = SampleEmbedder(store, encoder, preprocessor)
            outcome = await calibrate_snapshot(snapshot, embedder, options_of(wanted))
        except CatalogError as error:  # labels that contradict each other do not keep a catalogue from being served
            self.said = f"not calibrated: {error}"
            return manifest
        finally:
            snapshot.index.close()
        if isinstance(outcome.result, TooFew):
            self.said = f"not calibrated: {outcome.result.explain()}"
            return manifest
        self.said = f"calibrated as the active one: {describe(outcome.used)}"
        return calibrated_manifest(manifest, outcome.result)

    async def _active_calibration(self) -> Calibration | None:
        try:
            active = (await read_names(self._database)).active
            return None if active is None else (await load_manifest(self._database, active)).calibration
        except CatalogError:  # a build repairs names, and replaces a snapshot that cannot be read
            return None


def describe(used: UsedSamples) -> str:
    """What a calibration was made of, in words."""
    parts = []
    if used.samples:
        parts.append(f"{used.samples} labelled pictures")
    if used.views:
        parts.append(f"{used.views} pictures of the catalogue itself, each held out: cameras may do worse")
    notes = [
        (used.removed, "of products that the catalogue no longer has count as strangers"),
        (used.in_catalogue, "are pictures of the catalogue, and were left out"),
        (used.empty_scenes, "tell the index what an empty scene is, and were left out"),
        (used.unusable, "cannot be used"),
    ]
    return "; ".join([" and ".join(parts), *(f"{count} {what}" for count, what in notes if count)])
