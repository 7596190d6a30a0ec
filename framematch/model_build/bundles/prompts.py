"""Templates that turn a product's name into texts for the text tower."""

from dataclasses import dataclass
from string import Formatter

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle_folder import BundleFolder
from framematch.vision.model_files import decode_json

# The prompts of CLIP's authors, for models that were trained on captions of photos. A bundle of another model has its
# own templates, such as "{name}".
PHOTO_TEMPLATES = ("a photo of {name}", "a photo of {name}, a kind of {category}")

_FIELDS = {"name", "category"}


@dataclass(frozen=True)
class _PromptsFile:
    templates: tuple[str, ...]


def read_prompts(folder: BundleFolder) -> tuple[str, ...]:
    """The templates of prompts.json, or CLIP's when there is no such file.

    Raises:
        ModelError: there are no templates, or one cannot be used.
    """
    path = folder.find("prompts.json")
    if path is None:
        return PHOTO_TEMPLATES
    templates = decode_json(path, _PromptsFile).templates
    problems = [f"{template!r}: {problem}" for template in templates if (problem := template_problem(template))]
    if problems or not templates:
        raise ModelError(
            f"{path} is not usable: {'; '.join(problems) or 'it has no templates'}",
            hint='Give texts with {name}, and {category} where it fits: {"templates": ["a photo of {name}"]}',
        )
    return templates


def template_problem(template: str) -> str | None:
    """What is wrong with a template, or None. It must have {name}, may have {category}, and no other field."""
    try:
        fields = {field for _text, field, _format, _conversion in Formatter().parse(template) if field is not None}
    except ValueError as error:
        return str(error)
    if unknown := sorted(fields - _FIELDS):
        return f"{{{unknown[0]}}} is not known"
    return None if "name" in fields else "{name} is missing"
