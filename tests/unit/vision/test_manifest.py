"""The manifest in Triton's configuration."""

import json
from dataclasses import replace

import pytest

from framematch.core.errors import ModelError
from framematch.vision.manifest import ModelManifest, PreprocessSpec

MANIFEST = ModelManifest(
    name="clip — röd",
    digest="ab" * 32,
    dimension=512,
    preprocess=PreprocessSpec(224, 224, 224, "bicubic", 1 / 255, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    context_length=77,
    tokenizer_digest="cd" * 32,
    max_batch_size=32,
)


def test_a_manifest_survives_a_round_trip_through_json() -> None:
    assert ModelManifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_a_manifest_of_another_format_is_refused_with_a_hint() -> None:
    newer = json.loads(MANIFEST.to_json()) | {"format_version": 99, "dimension": "many"}
    with pytest.raises(ModelError, match="format 99") as caught:
        ModelManifest.from_json(json.dumps(newer))
    assert "framematch model build" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 2}'])
def test_invalid_manifests_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match="not readable"):
        ModelManifest.from_json(text)


def test_another_name_or_batch_size_is_the_same_space() -> None:
    assert MANIFEST.same_space(replace(MANIFEST, name="other", max_batch_size=1))


@pytest.mark.parametrize(
    "other",
    [
        replace(MANIFEST, digest="ef" * 32),
        replace(MANIFEST, dimension=256),
        replace(MANIFEST, preprocess=replace(MANIFEST.preprocess, resample="bilinear")),
        replace(MANIFEST, tokenizer_digest=None),
    ],
)
def test_another_model_preprocessing_or_tokenizer_is_another_space(other: ModelManifest) -> None:
    assert not MANIFEST.same_space(other)
