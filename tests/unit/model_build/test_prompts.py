"""Texts that stand for a product."""

import numpy as np
import pytest

from framematch.model_build.prompts import PHOTO_TEMPLATES, mean_embedding, prompts_for, template_problem


def test_a_name_alone_gives_the_templates_without_a_category() -> None:
    assert prompts_for("oat milk") == ["a photo of oat milk"]


def test_a_category_adds_the_templates_that_ask_for_one() -> None:
    assert prompts_for("oat milk", "drink") == ["a photo of oat milk", "a photo of oat milk, a kind of drink"]


def test_a_model_of_bare_names_gets_the_name_as_it_is() -> None:
    assert prompts_for("100% {juice}", "drink", templates=("{name}",)) == ["100% {juice}"]


def test_the_mean_of_unit_vectors_is_one_again() -> None:
    mean = mean_embedding(np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, [0.5**0.5, 0.5**0.5, 0], atol=1e-6)


@pytest.mark.parametrize("embeddings", [np.empty((0, 3)), np.array([[1.0, 0, 0], [-1, 0, 0]])])
def test_a_mean_without_a_direction_is_a_programming_error(embeddings: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"one text at least|cancel"):
        mean_embedding(embeddings)


@pytest.mark.parametrize("template", PHOTO_TEMPLATES)
def test_the_templates_that_come_along_are_usable(template: str) -> None:
    assert template_problem(template) is None


@pytest.mark.parametrize(
    ("template", "problem"),
    [("a photo", "missing"), ("{name} {0}", "not known"), ("{name.x}", "not known"), ("{", "{")],
)
def test_what_is_wrong_with_a_template_is_said(template: str, problem: str) -> None:
    assert problem in str(template_problem(template))
