"""From embeddings to decisions, with one snapshot."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from framematch.catalog.snapshots.calibration import CategoryThreshold
from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.core.settings import MatchingSettings
from framematch.matching.decision import MAX_PLAUSIBLE, Thresholds, decide
from framematch.matching.matcher import Matcher
from tests.unit.catalog.snapshots import make_snapshot, unit_rows
from tests.unit.catalog.test_calibration_checks import GOOD as CALIBRATION

SNAPSHOT = make_snapshot(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), ["a", "b", "c"], match=0.9, margin=0.3)


def test_each_embedding_is_decided_by_the_snapshots_thresholds() -> None:
    queries = np.array([[1, 0], [0.3162, 0.9487], [-1, 0]], np.float32)
    assert [decision.kind for decision in Matcher(SNAPSHOT).match(queries)] == ["match", "ambiguous", "unknown"]


def test_given_thresholds_replace_the_snapshots() -> None:
    matcher = Matcher(SNAPSHOT, match_threshold=0.0, margin_threshold=0.0)
    assert matcher.thresholds == Thresholds(0.0, 0.0)
    assert matcher.match(np.array([[0.3, 0.954]], np.float32))[0].kind == "match"


def test_a_single_requested_candidate_still_has_a_margin() -> None:
    (decision,) = Matcher(SNAPSHOT, k=1).match(np.array([[1, 0]], np.float32))
    assert [candidate.product_id for candidate in decision.candidates] == ["a"]
    assert decision.margin == pytest.approx(0.4)


def noisy(rows: Embeddings, noise: float) -> Embeddings:
    """The rows with noise of this length, and unit length again."""
    x = rows + noise * unit_rows(rows.shape[0], rows.shape[1], seed=9)
    made: Embeddings = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return made


ONE = unit_rows(1, 512)


@pytest.mark.parametrize("products", [2, 3, 500])
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-5, 1e-3])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_products_that_share_a_picture_are_never_a_match(products: int, noise: float, k: int, batch: int) -> None:
    shared = noisy(np.repeat(ONE, products, axis=0), noise)
    snapshot = make_snapshot(shared, [f"p{number:03}" for number in range(products)], match=0.5, margin=0.0)
    matcher = Matcher(snapshot, k=k, match_threshold=0.1, margin_threshold=0.0)
    queries = noisy(np.repeat(ONE, batch, axis=0), 0.5)
    decisions = matcher.match(queries)
    assert {(decision.kind, decision.reason) for decision in decisions} == {("ambiguous", "tie")}
    assert {decision.plausible for decision in decisions} == {min(MAX_PLAUSIBLE, products)}
    assert {len(decision.candidates) for decision in decisions} == {min(MAX_PLAUSIBLE, products)}


def test_products_that_share_a_picture_are_listed_by_id_whatever_the_batch() -> None:
    ids = [f"p{number:04}" for number in range(5_003)]
    shuffled = np.random.default_rng(0).permutation(ids).tolist()
    matcher = Matcher(make_snapshot(np.repeat(ONE, len(ids), axis=0), shuffled))
    for batch in (1, 4, 65):
        queries = noisy(np.repeat(ONE, batch, axis=0), 0.5)
        for decision in matcher.match(queries):
            assert [candidate.product_id for candidate in decision.candidates] == ids[:MAX_PLAUSIBLE]
            assert decision.margin == 0


def test_one_product_under_two_ids_beside_others_is_ambiguous_and_the_others_still_match() -> None:
    rows = unit_rows(3, 512)
    snapshot = make_snapshot(rows[[0, 0, 1, 2]], ["milk", "milk-old", "bread", "tea"], margin=0.0)
    decisions = Matcher(snapshot).match(rows)
    assert [decision.kind for decision in decisions] == ["ambiguous", "match", "match"]
    assert [candidate.product_id for candidate in decisions[0].candidates[:2]] == ["milk", "milk-old"]


def test_two_views_of_one_product_that_are_the_same_picture_still_match() -> None:
    rows = unit_rows(2, 512)
    decisions = Matcher(make_snapshot(rows[[0, 0, 1]], ["milk", "milk", "tea"])).match(rows)
    assert [decision.kind for decision in decisions] == ["match", "match"]


def test_the_only_product_of_a_catalogue_can_match() -> None:
    (decision,) = Matcher(make_snapshot(np.repeat(ONE, 3, axis=0), ["a"] * 3)).match(ONE)
    assert (decision.kind, decision.margin, decision.reason) == ("match", None, None)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"threshold": -0.5}, {"threshold": 1.1}, {"margin": -0.1}, {"margin": 1.5}]
)
def test_thresholds_that_cannot_be_are_refused_as_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        MatchingSettings.model_validate(wrong)


@pytest.mark.parametrize("views", [1, 3])
def test_an_ambiguous_decision_lists_every_plausible_product_and_others_no_more_than_asked(views: int) -> None:
    centre = unit_rows(1, 64)
    close = noisy(np.repeat(centre, 12 * views, axis=0), 0.2)
    rows = np.concatenate([close, unit_rows(30 * views, 64, seed=2)])
    ids = [f"p{row // views:02}" for row in range(len(rows))]
    matcher = Matcher(make_snapshot(rows, ids, match=0.5, margin=0.2), k=3)
    ambiguous, known, unknown = matcher.match(np.concatenate([centre, rows[-1:], -centre]))
    assert (ambiguous.kind, ambiguous.plausible) == ("ambiguous", 12)
    assert {one.product_id for one in ambiguous.candidates} == {f"p{number:02}" for number in range(12)}
    assert (known.kind, known.plausible, len(known.candidates)) == ("match", 1, 3)
    assert (unknown.kind, unknown.plausible, len(unknown.candidates)) == ("unknown", 0, 3)


@pytest.mark.parametrize("k", [1, 2, 5, 25])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.4, 1.0])
def test_decisions_are_those_of_a_search_of_all_products(k: int, margin: float) -> None:
    ids = [f"p{row % 30:02}" for row in range(90)]
    rows = noisy(np.repeat(unit_rows(3, 16), 30, axis=0), 0.6)
    matcher = Matcher(make_snapshot(rows, ids, match=0.6, margin=margin), k=k)
    queries = noisy(rows[:40], 0.5)
    every = matcher.search(queries, 30)
    decisions = [replace(decision, sketch=None) for decision in matcher.match(queries)]
    assert decisions == [decide(found, matcher.thresholds, k) for found in every]


def with_categories(thresholds: tuple[CategoryThreshold, ...]) -> Snapshot:
    snapshot = make_snapshot(unit_rows(3, 64), ["apple", "beans", "soap"], match=0.5, margin=0.0)
    rows = replace(snapshot.rows, categories=(0, 1, -1), category_names=("fruit", "tins"))
    manifest = replace(snapshot.manifest, calibration=replace(CALIBRATION, categories=thresholds))
    return replace(snapshot, rows=rows, manifest=manifest)


def test_products_of_a_calibrated_category_are_decided_by_its_threshold() -> None:
    snapshot = with_categories((CategoryThreshold("tins", 1.0, 100), CategoryThreshold("sold out", 0.1, 100)))
    queries = noisy(unit_rows(3, 64), 0.5)
    matcher = Matcher(snapshot)
    assert matcher.thresholds.match_of == {"beans": 1.0}
    assert [one.kind for one in matcher.match(queries)] == ["match", "unknown", "match"]
    assert [one.kind for one in Matcher(snapshot, match_threshold=0.5).match(queries)] == ["match"] * 3


def test_without_calibrated_categories_no_product_has_a_threshold_of_its_own() -> None:
    assert Matcher(with_categories(())).thresholds.match_of == {}
