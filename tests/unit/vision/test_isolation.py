"""Poison isolation tells invalid pictures from a broken model."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import EmbeddingError, ModelMismatchError, TritonUnavailableError
from framematch.vision.encoder import ImageEncoder
from framematch.vision.isolation import embed_isolating
from framematch.vision.manifest import ModelManifest, PreprocessSpec
from framematch.vision.triton import TritonModel

Answer = Callable[[Pixels], Embeddings]

SPEC = PreprocessSpec(2, 2, 2, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
MANIFEST = ModelManifest("small", "ab" * 32, 4, SPEC, None, None, max_batch_size=8)
GOOD, NAN, FAILS = 1, 2, 3


class ScriptedModel(TritonModel):
    """Uses one of `answers` for each request, and the last one for all further requests; `sizes` has their rows."""

    def __init__(self, *answers: Answer, max_batch_size: int = 8) -> None:
        manifest = replace(MANIFEST, max_batch_size=max_batch_size)
        super().__init__(None, "triton:8001", "clip_image", (manifest, frozenset({"pixels"})), 1.0)
        self._answers = list(answers)
        self.sizes: list[int] = []

    async def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Embeddings:
        pixels = inputs["pixels"]
        self.sizes.append(len(pixels))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer(pixels)


def pictures(*kinds: int) -> Pixels:
    """One picture of each kind. The second byte of each is its number."""
    made = np.zeros((len(kinds), 2, 2, 3), np.uint8)
    made[:, 0, 0, 0] = kinds
    made[:, 0, 0, 1] = np.arange(len(kinds))
    return made


def direction(pixels: Pixels) -> Embeddings:
    """A unit vector by the picture's number."""
    return np.eye(4, dtype=np.float32)[pixels[:, 0, 0, 1] % 4]


def by_kind(pixels: Pixels) -> Embeddings:
    """The answer of a model that fails on some pictures."""
    kinds = pixels[:, 0, 0, 0]
    if (kinds == FAILS).any():
        raise EmbeddingError("could not run")
    embeddings = direction(pixels)
    embeddings[kinds == NAN] = np.nan
    return embeddings


def all_nan(pixels: Pixels) -> Embeddings:
    return np.full((len(pixels), 4), np.nan, np.float32)


def fails(_pixels: Pixels) -> Embeddings:
    raise EmbeddingError("could not run")


def unreachable(_pixels: Pixels) -> Embeddings:
    raise TritonUnavailableError("no answer")


def replaced(_pixels: Pixels) -> Embeddings:
    raise ModelMismatchError("another model")


async def test_a_good_batch_takes_one_request() -> None:
    model = ScriptedModel(by_kind)
    embeddings, invalid = await embed_isolating(ImageEncoder(model), pictures(GOOD, GOOD, GOOD))
    np.testing.assert_array_equal(embeddings, np.eye(3, 4))
    assert not invalid
    assert model.sizes == [3]


async def test_a_picture_that_fails_twice_is_invalid_and_the_others_keep_their_embeddings() -> None:
    model = ScriptedModel(by_kind)
    embeddings, invalid = await embed_isolating(ImageEncoder(model), pictures(GOOD, NAN, GOOD))
    assert invalid == {1}
    np.testing.assert_array_equal(embeddings, np.eye(3, 4) * [[1], [np.nan], [1]])
    assert model.sizes == [3, 2]


async def test_a_picture_that_makes_the_whole_batch_fail_is_invalid_and_the_others_are_embedded() -> None:
    model = ScriptedModel(by_kind)
    embeddings, invalid = await embed_isolating(ImageEncoder(model), pictures(GOOD, FAILS, GOOD))
    assert invalid == {1}
    np.testing.assert_array_equal(embeddings, np.eye(3, 4) * [[1], [np.nan], [1]])


async def test_a_picture_that_succeeds_on_retry_is_valid() -> None:
    embeddings, invalid = await embed_isolating(ImageEncoder(ScriptedModel(all_nan, by_kind)), pictures(GOOD, GOOD))
    assert not invalid
    np.testing.assert_array_equal(embeddings, np.eye(2, 4))


@given(
    kinds=st.lists(st.sampled_from([GOOD, NAN, FAILS]), max_size=12),
    max_batch_size=st.integers(1, 8),
)
async def test_exactly_the_bad_pictures_are_invalid_for_every_batch_size(kinds: list[int], max_batch_size: int) -> None:
    crops = pictures(*kinds)
    encoder = ImageEncoder(ScriptedModel(by_kind, max_batch_size=max_batch_size))
    embeddings, invalid = await embed_isolating(encoder, crops)
    assert invalid == {row for row, kind in enumerate(kinds) if kind != GOOD}
    expected = direction(crops)
    expected[list(invalid)] = np.nan
    np.testing.assert_array_equal(embeddings, expected)


@pytest.mark.parametrize("broken", [all_nan, fails])
@pytest.mark.parametrize("max_batch_size", [1, 8])
async def test_a_broken_model_makes_no_picture_invalid_and_is_retriable(broken: Answer, max_batch_size: int) -> None:
    model = ScriptedModel(broken, max_batch_size=max_batch_size)
    with pytest.raises(EmbeddingError, match="the model is broken") as caught:
        await embed_isolating(ImageEncoder(model), pictures(GOOD, GOOD, GOOD))
    assert caught.value.retriable
    assert caught.value.hint


@given(
    broken=st.sampled_from([all_nan, fails]),
    before=st.integers(0, 8),
    calls=st.integers(1, 8),
    max_batch_size=st.sampled_from([1, 8]),
)
async def test_a_model_that_breaks_or_recovers_at_any_time_makes_no_picture_invalid(
    broken: Answer, before: int, calls: int, max_batch_size: int
) -> None:
    answers = [by_kind] * before + [broken] * calls + [by_kind]
    invalid: frozenset[int] = frozenset()
    with suppress(EmbeddingError):
        _, invalid = await embed_isolating(
            ImageEncoder(ScriptedModel(*answers, max_batch_size=max_batch_size)), pictures(GOOD, GOOD)
        )
    assert not invalid


async def test_a_control_that_fails_beside_a_good_picture_means_a_broken_model() -> None:
    def nan_at_the_end(pixels: Pixels) -> Embeddings:
        embeddings = direction(pixels)
        embeddings[-1] = np.nan
        return embeddings

    with pytest.raises(EmbeddingError, match="the model is broken"):
        await embed_isolating(ImageEncoder(ScriptedModel(nan_at_the_end)), pictures(GOOD, GOOD))


@pytest.mark.parametrize(("answer", "kind"), [(unreachable, TritonUnavailableError), (replaced, ModelMismatchError)])
@pytest.mark.parametrize("first", [by_kind, all_nan])
async def test_an_unreachable_triton_or_another_model_makes_no_picture_invalid(
    first: Answer, answer: Answer, kind: type[Exception]
) -> None:
    encoder = ImageEncoder(ScriptedModel(first, answer))
    with pytest.raises(kind):
        await embed_isolating(encoder, pictures(NAN))
