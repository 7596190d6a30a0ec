"""A scene without a product is recognised by pictures that show nothing, which are never products themselves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from framematch.catalog.snapshots.diff import diff_snapshots
from framematch.catalog.snapshots.snapshot import NOTHING_FILE, check_manifest, open_snapshot
from framematch.core.arrays import Embeddings
from framematch.core.errors import CatalogError
from framematch.matching.calibration.samples import SampleLabel, score_samples
from framematch.matching.decision import Candidate, Thresholds
from framematch.matching.matcher import Matcher
from framematch.matching.nothing_in_view import decide_unless_empty
from framematch.vector_index.description import Kind
from tests.unit.catalog.snapshots import make_snapshot, write_snapshot

IDS = [f"p{number:03}" for number in range(300)]
KINDS: tuple[Kind, ...] = ("flat", "hnsw", "rabitq")


def unit_rows(seed: int, count: int) -> Embeddings:
    rows = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


PRODUCTS, NOTHING = unit_rows(0, len(IDS)), unit_rows(1, 40)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_nearest_to_nothing_is_empty_and_products_are_found_as_before(kind: Kind) -> None:
    with_nothing = Matcher(make_snapshot(PRODUCTS, IDS, kind=kind, nothing=NOTHING), k=5)
    without = Matcher(make_snapshot(PRODUCTS, IDS, kind=kind), k=5)
    empty = {(decision.kind, decision.reason, decision.plausible) for decision in with_nothing.match(NOTHING)}
    assert empty == {("unknown", "empty", 0)}
    queries = PRODUCTS[::10]
    assert with_nothing.match(queries) == without.match(queries)
    assert {decision.kind for decision in with_nothing.match(queries)} == {"match"}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_no_product_anywhere(kind: Kind) -> None:
    snapshot = make_snapshot(PRODUCTS, IDS, kind=kind, nothing=NOTHING)
    matcher = Matcher(snapshot)
    found = matcher.search(NOTHING[:3], len(IDS) + 40)
    assert {candidate.product_id for each in found for candidate in each} == set(IDS)
    assert {one.product_id for decision in matcher.match(NOTHING) for one in decision.candidates} <= set(IDS)
    assert set(snapshot.rows.product_ids) == set(IDS)
    assert (matcher.products, snapshot.manifest.products, snapshot.manifest.rows) == (300, 300, 300)


def test_a_diff_does_not_see_pictures_that_show_nothing() -> None:
    before, after = make_snapshot(PRODUCTS, IDS), make_snapshot(PRODUCTS, IDS, nothing=NOTHING)
    diff = diff_snapshots(before.manifest, before.rows, after.manifest, after.rows)
    assert (diff.added, diff.removed, diff.changed, diff.same) == ((), (), (), 300)


def test_a_manifest_without_the_number_is_one_without_such_pictures(tmp_path: Path) -> None:
    manifest = write_snapshot(tmp_path, PRODUCTS, IDS)
    assert (manifest.nothing, NOTHING_FILE in manifest.files) == (0, False)
    assert open_snapshot(manifest, tmp_path).nothing.shape == (0, 32)


@pytest.mark.parametrize("change", [{"nothing": 0}, {"nothing": -1}, {"rows": 0}, {"products": 0}])
def test_a_manifest_with_other_files_or_without_a_product_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    manifest = replace(write_snapshot(tmp_path, PRODUCTS, IDS, nothing=NOTHING), **change)  # type: ignore[arg-type]  # numbers
    with pytest.raises(CatalogError):
        check_manifest(manifest)


@pytest.mark.parametrize("damage", ["shape", "not finite"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    values = NOTHING if damage == "shape" else np.full_like(NOTHING, np.nan)
    manifest = write_snapshot(tmp_path, PRODUCTS, IDS, nothing=values)
    count = 41 if damage == "shape" else 40
    with pytest.raises(CatalogError, match=NOTHING_FILE):
        open_snapshot(replace(manifest, nothing=count), tmp_path)


@pytest.mark.parametrize(
    ("nothing", "reason"),
    [(0.9, "empty"), (0.8, "empty"), (0.79, None), (-np.inf, None), (np.nan, None)],
)
def test_nothing_wins_when_it_is_at_least_as_similar(nothing: float, reason: str | None) -> None:
    candidates = [Candidate("milk", 0.8), Candidate("juice", 0.5), Candidate("tea", 0.4)]
    decision = decide_unless_empty(candidates, nothing, Thresholds(0.7, 0.1), 2)
    assert decision.reason == reason
    assert (decision.score, len(decision.candidates)) == (0.8, 2)


def test_a_calibration_counts_an_empty_scene_as_refused() -> None:
    snapshot = make_snapshot(PRODUCTS, IDS, nothing=NOTHING)
    labels = [SampleLabel("nothing", "belt"), SampleLabel("product", "visit", "p000")]
    empty, product = score_samples(snapshot, np.stack([NOTHING[0], PRODUCTS[0]]), labels).samples
    assert empty.candidates == ()
    assert (product.candidates[0].product_id, product.siblings[0].product_id != "p000") == ("p000", True)


def test_without_a_candidate_nothing_is_decided_as_before() -> None:
    assert decide_unless_empty([], 0.9, Thresholds(0.7, 0.1), 2).reason == "below_threshold"
