"""Templates that turn a product's name into texts."""

import pytest

from framematch.model_build.bundles.prompts import PHOTO_TEMPLATES, template_problem


@pytest.mark.parametrize("template", PHOTO_TEMPLATES)
def test_the_default_templates_are_usable(template: str) -> None:
    assert template_problem(template) is None


@pytest.mark.parametrize(
    ("template", "problem"),
    [("a photo", "missing"), ("{name} {0}", "not known"), ("{name.x}", "not known"), ("{", "{")],
)
def test_the_problem_of_a_template_is_named(template: str, problem: str) -> None:
    assert problem in str(template_problem(template))
