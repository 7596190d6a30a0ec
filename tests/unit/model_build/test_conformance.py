"""Which comparisons of embeddings pass, and the problems of those that fail."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from framematch.core.errors import ModelMismatchError
from framematch.model_build.checks.conformance import (
    Check,
    Limit,
    compare_embeddings,
    compare_token_ids,
    cosines,
    limit_for,
    require_dimension,
    require_same_model,
    skipped,
)
from framematch.vision.manifest import ModelManifest, PreprocessSpec

SPEC = PreprocessSpec(8, 8, 8, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
MANIFEST = ModelManifest("small", "ab" * 32, 4, SPEC, 6, "cd" * 32, max_batch_size=32)
NAMES = ["one.jpg", "two.jpg", "three.jpg"]
ROWS = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0][:3].astype(np.float32)


def rotated(row: int, degrees: float) -> npt.NDArray[np.float32]:
    """`ROWS` with one row rotated by an angle towards the next row."""
    angle = np.radians(degrees)
    found = ROWS.copy()
    other = ROWS[(row + 1) % 3]  # at a right angle to it
    found[row] = np.cos(angle) * ROWS[row] + np.sin(angle) * other
    return found


def compare(found: npt.NDArray[np.float32], limit: Limit) -> Check:
    return compare_embeddings("exact pictures", "expected.json", names=NAMES, found=found, reference=ROWS, limit=limit)


def test_equal_embeddings_pass_with_cosine_one() -> None:
    check = compare(ROWS.copy(), limit_for("exact pictures", "fp32"))
    assert check.passed
    assert check.number == 3
    assert [check.lowest, check.mean] == pytest.approx([1, 1])


def test_one_embedding_rotated_by_a_degree_fails_fp32_and_is_named() -> None:
    check = compare(rotated(1, degrees=1), limit_for("exact pictures", "fp32"))
    assert not check.passed
    assert check.lowest == pytest.approx(np.cos(np.radians(1)), abs=1e-6)
    assert "two.jpg" in check.problem


def test_embeddings_in_another_order_fail() -> None:
    assert not compare(ROWS[[1, 0, 2]], limit_for("fast pictures", "int8")).passed


def test_rows_above_the_lowest_limit_still_fail_by_their_mean() -> None:
    check = compare(rotated(2, degrees=30), Limit(lowest=0.8, mean=0.99))
    assert not check.passed
    assert "mean" in check.problem


def test_an_embedding_that_is_not_a_number_fails() -> None:
    broken = ROWS.copy()
    broken[0, 0] = np.nan
    assert not compare(broken, Limit(0.1, 0.1)).passed


def test_lengths_do_not_matter_to_the_cosine() -> None:
    assert cosines(ROWS * 3, ROWS / 7) == pytest.approx(1)


@pytest.mark.parametrize(
    ("precision", "degrees", "passes"),
    [("fp32", 0.5, True), ("fp32", 1, False), ("fp16", 2, True), ("fp16", 3, False), ("int8", 17, True)],
)
def test_a_less_precise_model_may_rotate_a_vector_more(precision: str, degrees: float, passes: bool) -> None:
    assert compare(rotated(0, degrees), limit_for("exact pictures", precision)).passed is passes


def test_int8_has_a_limit_for_the_mean_as_well() -> None:
    everywhere = np.roll(ROWS, 1, axis=0) * np.sin(np.radians(17)) + ROWS * np.cos(np.radians(17))
    assert not compare(everywhere.astype(np.float32), limit_for("exact pictures", "int8")).passed


def test_fast_pictures_have_their_own_limit_unless_the_model_s_is_lower() -> None:
    assert [limit_for("fast pictures", precision) for precision in ("fp32", "fp16", "int8")] == [
        Limit(0.99, 0.99),
        Limit(0.99, 0.99),
        Limit(0.95, 0.98),
    ]


def test_texts_of_an_int8_model_are_not_quantised_and_have_a_higher_limit() -> None:
    assert limit_for("texts", "int8").lowest > limit_for("exact pictures", "int8").lowest


def test_equal_token_ids_pass() -> None:
    ids = {"milk": [0, 4, 2, 2], "kiwi": [0, 5, 2, 2]}
    check = compare_token_ids("expected.json", dict(reversed(ids.items())), ids)
    assert check.passed
    assert check.number == 2


def test_other_padding_fails_and_the_text_is_named() -> None:
    check = compare_token_ids("expected.json", {"milk": [0, 4, 2, 0]}, {"milk": [0, 4, 2, 2]})
    assert not check.passed
    assert "1 of 1" in check.problem
    assert "'milk'" in check.problem


def test_what_was_not_compared_is_not_passed() -> None:
    check = skipped("texts", "expected.json", "no tokenizer")
    assert check.skipped
    assert not check.passed


def test_a_model_of_the_bundle_is_accepted_whatever_its_name_and_batch_size() -> None:
    require_same_model(MANIFEST, replace(MANIFEST, name="renamed", max_batch_size=1))


def test_another_model_is_refused_and_both_are_named() -> None:
    other = replace(MANIFEST, name="other", digest="ef" * 32)
    with pytest.raises(ModelMismatchError, match=r"serves other \(efefefefefef\).* small \(abababababab\).* graphs"):
        require_same_model(other, MANIFEST)


def test_an_int8_model_has_other_graphs_than_the_bundle_and_the_same_preprocessing() -> None:
    quantised = replace(MANIFEST, digest="ef" * 32, precision="int8")
    require_same_model(quantised, MANIFEST)
    with pytest.raises(ModelMismatchError, match="preprocessing"):
        require_same_model(replace(quantised, preprocess=replace(SPEC, resample="bilinear")), MANIFEST)


def test_reference_embeddings_of_another_dimension_are_refused() -> None:
    require_dimension(MANIFEST, "expected.json", 4)
    with pytest.raises(ModelMismatchError, match=r"expected\.json has embeddings of 64 .* small with 4"):
        require_dimension(MANIFEST, "expected.json", 64)
