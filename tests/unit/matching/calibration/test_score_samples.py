"""What a search finds for labelled pictures."""

from dataclasses import replace

import numpy as np

from framematch.matching.calibration.samples import MAX_CANDIDATES, SampleLabel, score_samples
from tests.unit.catalog.snapshots import make_snapshot, unit_rows

ROWS = unit_rows(40, 32)
IDS = [f"p{number:02}" for number in range(40)]
SNAPSHOT = make_snapshot(ROWS, IDS)


def known(product_id: str) -> SampleLabel:
    return SampleLabel("product", "visit", product_id)


def test_a_known_picture_has_its_product_first_and_its_siblings_without_it() -> None:
    (scored,) = score_samples(SNAPSHOT, ROWS[3:4], [known("p03")]).samples
    assert scored.candidates[0].product_id == "p03"
    assert scored.shows == {"p03"}
    assert "p03" not in {candidate.product_id for candidate in scored.siblings}
    assert (len(scored.candidates), len(scored.siblings)) == (MAX_CANDIDATES, MAX_CANDIDATES)
    assert scored.candidates[1:] == scored.siblings[:-1]


def test_products_with_the_same_picture_are_no_impostors_of_each_other() -> None:
    snapshot = make_snapshot(ROWS[[0, 0, 1, 2]], ["milk", "milk-old", "bread", "tea"])
    (scored,) = score_samples(snapshot, ROWS[:1], [known("milk")]).samples
    assert scored.shows == {"milk", "milk-old"}
    assert {candidate.product_id for candidate in scored.siblings} == {"bread", "tea"}


def test_a_product_that_the_snapshot_lacks_is_a_stranger() -> None:
    (scored,) = score_samples(SNAPSHOT, ROWS[:1], [known("gone")]).samples
    assert (scored.label.kind, scored.shows, scored.siblings) == ("stranger", frozenset(), ())


def test_impostors_have_candidates_and_no_siblings() -> None:
    labels = [SampleLabel("stranger", "a"), SampleLabel("nothing", "b")]
    scored = score_samples(SNAPSHOT, ROWS[:2], labels).samples
    assert [one.label for one in scored] == labels
    assert all(len(one.candidates) == MAX_CANDIDATES and not one.siblings for one in scored)


def test_many_samples_are_searched_as_one_by_one() -> None:
    queries = unit_rows(600, 32, seed=1)
    labels = [SampleLabel("stranger", str(number)) for number in range(600)]
    together = score_samples(SNAPSHOT, queries, labels)
    (alone,) = score_samples(SNAPSHOT, queries[-1:], labels[-1:]).samples
    assert (len(together.samples), together.products) == (600, 40)
    assert [one.product_id for one in together.samples[-1].candidates] == [one.product_id for one in alone.candidates]


def test_without_samples_nothing_is_searched() -> None:
    assert score_samples(SNAPSHOT, np.empty((0, 32), np.float32), []).samples == ()


def test_a_catalogue_of_one_product_has_no_siblings() -> None:
    (scored,) = score_samples(make_snapshot(ROWS[:1], ["a"]), ROWS[:1], [known("a")]).samples
    assert scored.siblings == ()


def test_the_categories_are_those_of_the_snapshot() -> None:
    rows = replace(SNAPSHOT.rows, categories=(0, *[-1] * 39), category_names=("fruit",))
    assert score_samples(replace(SNAPSHOT, rows=rows), ROWS[:1], [known("p00")]).categories == {"p00": "fruit"}
