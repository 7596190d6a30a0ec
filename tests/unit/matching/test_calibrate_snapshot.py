"""Which pictures calibrate a snapshot, and what they count as."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self, cast

import numpy as np
import pytest

from framematch.catalog.samples.embedder import EmbeddedSamples, SampleEmbedder
from framematch.catalog.samples.sample import Label, Sample
from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.core.errors import CatalogError
from framematch.matching.calibrate_snapshot import (
    CalibrationOutcome,
    UsedSamples,
    calibrate_snapshot,
    calibrated_manifest,
    describe,
)
from framematch.matching.calibration.options import Calibrated, CalibrationOptions, TooFew
from tests.unit.catalog.snapshots import MODEL, image_of, make_snapshot, unit_rows

PRODUCTS = 20
OPTIONS = CalibrationOptions(at="2026-01-01T00:00:00.000000Z", rate=0.1, mixup_rate=0.2)


@dataclass
class FakeEmbedder:
    """Samples with given embeddings; it is its own store."""

    pictures: list[tuple[Sample, Embeddings]]

    @property
    def store(self) -> Self:
        return self

    async def read(self) -> AsyncIterator[Sample]:
        """Like `SampleStore.read`."""
        for sample, _row in self.pictures:
            yield sample

    async def embed(self, samples: Sequence[Sample], _on_progress: Any) -> EmbeddedSamples:
        """Like `SampleEmbedder.embed`."""
        found = {sample.id: row for sample, row in self.pictures}
        rows = [found[sample.id] for sample in samples]
        return EmbeddedSamples(tuple(samples), np.array(rows, np.float32).reshape(len(rows), MODEL.dimension), 0, ())


def sample(row: Embeddings, label: Label = "product", product_id: str | None = None) -> tuple[Sample, Embeddings]:
    image = image_of(row)
    return Sample(image, label, product_id, "folder", image, datetime.now(UTC)), row


def catalogue(views: int = 1) -> tuple[Snapshot, Embeddings]:
    """`PRODUCTS` products, each with views that resemble each other."""
    rows = np.repeat(unit_rows(PRODUCTS), views, axis=0)
    rows += 0.01 * unit_rows(len(rows), seed=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return make_snapshot(rows, [f"p{number // views}" for number in range(len(rows))]), rows


def frames(rows: Embeddings) -> list[tuple[Sample, Embeddings]]:
    """A frame of each product, near its picture."""
    shaken = rows + 0.03 * unit_rows(len(rows), seed=2)
    shaken /= np.linalg.norm(shaken, axis=1, keepdims=True)
    return [sample(row, "product", f"p{number}") for number, row in enumerate(shaken)]


async def calibrate(snapshot: Snapshot, pictures: list[tuple[Sample, Embeddings]]) -> CalibrationOutcome:
    return await calibrate_snapshot(snapshot, cast("SampleEmbedder", FakeEmbedder(pictures)), OPTIONS)


async def test_frames_of_products_calibrate() -> None:
    snapshot, rows = catalogue()
    outcome = await calibrate(snapshot, frames(rows))
    assert isinstance(outcome.result, Calibrated)
    assert outcome.used == UsedSamples(samples=PRODUCTS)
    manifest = calibrated_manifest(snapshot.manifest, outcome.result)
    assert manifest.calibration
    assert (manifest.calibration.samples, manifest.calibration.views) == (PRODUCTS, 0)


async def test_pictures_of_the_catalogue_itself_are_left_out_and_counted() -> None:
    snapshot, rows = catalogue()
    own = [sample(row, "product", f"p{number}") for number, row in enumerate(rows)]
    outcome = await calibrate(snapshot, own)
    assert outcome.used == UsedSamples(in_catalogue=PRODUCTS)
    assert isinstance(outcome.result, TooFew)
    assert "no labelled picture is kept" in outcome.result.explain()


async def test_a_product_that_the_snapshot_no_longer_has_is_a_stranger() -> None:
    snapshot, rows = catalogue()
    gone = sample(unit_rows(1, seed=9)[0], "product", "removed")
    outcome = await calibrate(snapshot, [*frames(rows), gone])
    assert isinstance(outcome.result, Calibrated)
    assert outcome.used.removed == 1
    counted = {one.source: one.accepted.pictures + one.missing for one in outcome.result.calibration.sources}
    assert counted["unseen"] == 9  # 1 is there, and 8 of the 9 that a rate of 10 % needs are missing


async def test_without_frames_of_products_the_catalogues_views_are_held_out() -> None:
    snapshot, _rows = catalogue(views=2)
    nothing = [sample(row, "nothing") for row in unit_rows(12, seed=5)]
    outcome = await calibrate(snapshot, nothing)
    assert isinstance(outcome.result, Calibrated)
    assert (outcome.used.samples, outcome.used.views) == (12, 2 * PRODUCTS)
    assert outcome.result.calibration.views == 2 * PRODUCTS
    assert [one.missing for one in outcome.result.calibration.sources if one.source != "unseen"] == [0, 0]


async def test_one_picture_with_two_labels_is_refused() -> None:
    snapshot, rows = catalogue()
    pictures = frames(rows)
    again = replace(pictures[0][0], label="nothing", product_id=None)
    with pytest.raises(CatalogError, match="one picture is said to show two things"):
        await calibrate(snapshot, [*pictures, (again, pictures[0][1])])


async def test_one_product_can_be_told_from_nothing_but_mixed_up_with_none() -> None:
    row = unit_rows(1)[0]
    snapshot = make_snapshot(row[None], ["p0"])
    near = row + 0.03 * unit_rows(30, seed=3)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    known = [sample(one, "product", "p0") for one in near]
    alone = await calibrate(snapshot, known)
    assert isinstance(alone.result, TooFew)
    assert "the catalogue has one product" in alone.result.explain()
    both = await calibrate(snapshot, [*known, *(sample(one, "nothing") for one in unit_rows(30, seed=4))])
    assert isinstance(both.result, Calibrated)
    assert 0 < both.result.thresholds.match < 1


def test_what_was_used_is_said_in_words() -> None:
    parts = [
        "5 labelled pictures and 3 pictures of the catalogue itself, each held out: cameras may do worse",
        "1 of products that the catalogue no longer has count as strangers",
        "2 are pictures of the catalogue, and were left out",
    ]
    assert describe(UsedSamples(samples=5, views=3, removed=1, in_catalogue=2)) == "; ".join(parts)


async def test_pictures_by_which_the_snapshot_knows_an_empty_scene_have_no_part_in_its_rates() -> None:
    snapshot, rows = catalogue()
    scenes = unit_rows(40, seed=6)
    known = make_snapshot(rows, snapshot.rows.product_ids, nothing=scenes[:5])
    pictures = [*frames(rows), *(sample(row, "nothing") for row in scenes)]
    used = (await calibrate(known, pictures)).used
    assert 10 < used.empty_scenes < 30  # about half of the groups
    assert used.samples + used.empty_scenes == len(pictures)
    assert (await calibrate(snapshot, pictures)).used.empty_scenes == 0
