"""Templates that turn a product's name into texts for the text tower."""

from collections.abc import Sequence
from string import Formatter

import numpy as np
import numpy.typing as npt

# The prompts of CLIP's authors, for models that were trained on captions of photos. A bundle of another model has its
# own templates, such as "{name}".
PHOTO_TEMPLATES = ("a photo of {name}", "a photo of {name}, a kind of {category}")

_FIELDS = {"name", "category"}


def prompts_for(name: str, category: str | None = None, templates: Sequence[str] = PHOTO_TEMPLATES) -> list[str]:
    """One text a template, in order; templates that ask for a category are left out when there is none."""
    return [
        template.format(name=name, category=category)
        for template in templates
        if category or "category" not in _fields(template)
    ]


def mean_embedding(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Unit vectors of one product's texts, float32 [P, D] -> one unit vector, float32 [D].

    Raises:
        ValueError: there are none, or they cancel each other out.
    """
    if len(embeddings) == 0:
        raise ValueError("a product needs one text at least")
    mean = embeddings.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if length == 0.0:
        raise ValueError("the embeddings cancel each other out")
    return np.asarray(mean / length, np.float32)


def template_problem(template: str) -> str | None:
    """What is wrong with a template, or None. It must have {name}, may have {category}, and no other field."""
    try:
        fields = _fields(template)
    except ValueError as error:
        return str(error)
    if unknown := sorted(fields - _FIELDS):
        return f"{{{unknown[0]}}} is not known"
    return None if "name" in fields else "{name} is missing"


def _fields(template: str) -> set[str]:
    return {field for _text, field, _format, _conversion in Formatter().parse(template) if field is not None}
