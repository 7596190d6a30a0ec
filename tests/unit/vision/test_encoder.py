"""The encoders with scripted answers of Triton."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tritonclient.utils import InferenceServerException

from framematch.core.errors import EmbeddingError, FramematchError, ModelMismatchError, TritonUnavailableError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.vision.encoder import ImageEncoder, TextEncoder
from framematch.vision.manifest import MANIFEST_PARAMETER, ModelManifest, PreprocessSpec
from framematch.vision.triton import TritonModel
from tests.unit.model_build.bundles import BundleFiles
from tests.unit.vision.messages import Attributes

SPEC = PreprocessSpec(8, 8, 8, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
MANIFEST = ModelManifest("small", "ab" * 32, 4, SPEC, 6, "cd" * 32, max_batch_size=3)
PIXELS = np.zeros((2, 8, 8, 3), np.uint8)

Answer = Callable[[int], Any]


class Result:
    """The result of `as_numpy`, or the error that it raises."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def as_numpy(self, _name: str) -> Any:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class FakeClient:
    """Answers each inference by `answer(rows)`, and serves `manifest`."""

    def __init__(self, answer: Answer, manifest: ModelManifest = MANIFEST) -> None:
        self.answer = answer
        self.manifest = manifest
        self.requests: list[dict[str, list[int]]] = []

    async def infer(self, _name: str, tensors: Sequence[Any], **_options: Any) -> Result:
        self.requests.append({tensor.name(): list(tensor.shape()) for tensor in tensors})
        value = self.answer(tensors[0].shape()[0])
        if isinstance(value, InferenceServerException):
            raise value
        return Result(value)

    async def get_model_repository_index(self, **_options: Any) -> Attributes:
        return Attributes(models=[Attributes(name="clip_image", state="READY", reason="")])

    async def get_model_config(self, _name: str, **_options: Any) -> Attributes:
        parameters = {MANIFEST_PARAMETER: Attributes(string_value=self.manifest.to_json())}
        return Attributes(config=Attributes(parameters=parameters, input=[Attributes(name="pixels")]))


def unit_rows(rows: int) -> npt.NDArray[np.float32]:
    """Row i is the unit vector of axis i modulo 4."""
    return np.eye(4, dtype=np.float32)[np.arange(rows) % 4]


def model(client: FakeClient, inputs: frozenset[str] = frozenset({"pixels"})) -> TritonModel:
    return TritonModel(client, "triton:8001", "clip_image", (MANIFEST, inputs), 1.0)


def failure(status: str, message: str = "because") -> InferenceServerException:
    return InferenceServerException(message, f"StatusCode.{status}")


async def test_rows_are_in_order_and_owned_by_the_caller() -> None:
    embeddings = await ImageEncoder(model(FakeClient(unit_rows))).embed(PIXELS)
    np.testing.assert_array_equal(embeddings, unit_rows(2))
    assert embeddings.flags.writeable


async def test_a_batch_above_the_model_s_maximum_is_split() -> None:
    client = FakeClient(unit_rows)
    embeddings = await ImageEncoder(model(client)).embed(np.zeros((7, 8, 8, 3), np.uint8))
    assert [request["pixels"][0] for request in client.requests] == [3, 3, 1]
    assert embeddings.shape == (7, 4)


async def test_no_pictures_give_no_rows_and_no_request() -> None:
    client = FakeClient(unit_rows)
    embeddings = await ImageEncoder(model(client)).embed(PIXELS[:0])
    assert embeddings.shape == (0, 4)
    assert not client.requests


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 9, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)]
)
async def test_pixels_of_another_shape_or_type_are_a_programming_error(wrong: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        await ImageEncoder(model(FakeClient(unit_rows))).embed(wrong)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda rows: np.full((rows, 4), np.nan, np.float32), "no finite unit vectors"),
        (lambda rows: np.full((rows, 4), np.inf, np.float32), "no finite unit vectors"),
        (lambda rows: np.zeros((rows, 4), np.float32), "no finite unit vectors"),
        (lambda rows: unit_rows(rows) * 1.1, "no finite unit vectors"),
        (lambda rows: np.eye(rows, 5, dtype=np.float32), "wrong embedding tensor"),
        (lambda rows: unit_rows(rows + 1), "wrong embedding tensor"),
        (lambda rows: unit_rows(rows).astype(np.float64), "wrong embedding tensor"),
        (lambda _rows: ValueError("cannot reshape array of size 0"), "wrong embedding tensor"),
        (lambda _rows: None, "wrong embedding tensor: none"),
    ],
)
async def test_anything_but_finite_unit_vectors_is_an_embedding_error(answer: Answer, message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        await ImageEncoder(model(FakeClient(answer))).embed(PIXELS)


async def test_the_error_has_the_bad_rows_of_a_split_batch_and_the_good_embeddings() -> None:
    client = FakeClient(lambda rows: unit_rows(rows) * np.array([[1], [1], [np.nan]], np.float32)[:rows])
    with pytest.raises(EmbeddingError, match="2 of 7 embeddings") as caught:
        await ImageEncoder(model(client)).embed(np.zeros((7, 8, 8, 3), np.uint8))
    assert caught.value.bad_rows == (2, 5)
    np.testing.assert_array_equal(caught.value.embeddings[[0, 1, 3, 4, 6]], unit_rows(5)[[0, 1, 0, 1, 0]])


async def test_after_a_tensor_of_another_shape_the_served_model_is_checked_again() -> None:
    client = FakeClient(lambda rows: np.eye(rows, 5, dtype=np.float32))
    encoder = ImageEncoder(model(client))
    with pytest.raises(EmbeddingError):
        await encoder.embed(PIXELS)
    client.manifest = replace(MANIFEST, name="wider", dimension=5)
    with pytest.raises(ModelMismatchError, match="now serves wider"):
        await encoder.embed(PIXELS)


async def test_rounding_of_half_precision_is_accepted() -> None:
    client = FakeClient(lambda rows: unit_rows(rows) * np.float32(1.002))
    assert (await ImageEncoder(model(client)).embed(PIXELS)).shape == (2, 4)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (failure("UNAVAILABLE"), TritonUnavailableError),
        (failure("DEADLINE_EXCEEDED"), TritonUnavailableError),
        (failure("RESOURCE_EXHAUSTED"), TritonUnavailableError),
        (failure("NOT_FOUND", "no available versions"), TritonUnavailableError),
        (failure("INTERNAL", "Stub process 'clip_image_0_0' is not healthy."), TritonUnavailableError),
        (failure("INTERNAL", "InvalidArgument: Gather"), EmbeddingError),
        (failure("INVALID_ARGUMENT", "unexpected shape"), EmbeddingError),
    ],
)
async def test_a_failure_is_either_an_unavailable_triton_or_a_batch_that_cannot_run(
    error: InferenceServerException, kind: type[FramematchError]
) -> None:
    with pytest.raises(kind) as caught:
        await ImageEncoder(model(FakeClient(lambda _rows: error))).embed(PIXELS)
    assert caught.value.retriable
    assert caught.value.hint


async def test_after_a_failure_another_model_at_the_same_address_is_refused() -> None:
    client = FakeClient(lambda _rows: failure("UNAVAILABLE"))
    encoder = ImageEncoder(model(client))
    with pytest.raises(TritonUnavailableError):
        await encoder.embed(PIXELS)
    client.answer = unit_rows
    client.manifest = ModelManifest("other", "ef" * 32, 4, SPEC, 6, "cd" * 32, max_batch_size=3)
    with pytest.raises(ModelMismatchError, match=r"now serves other \(efefefefefef\)"):
        await encoder.embed(PIXELS)


async def test_after_a_failure_the_same_model_is_used_again_with_its_new_batch_size() -> None:
    client = FakeClient(lambda _rows: failure("UNAVAILABLE"))
    encoder = ImageEncoder(model(client))
    with pytest.raises(TritonUnavailableError):
        await encoder.embed(PIXELS)
    client.answer = unit_rows
    client.manifest = ModelManifest("small", "ab" * 32, 4, SPEC, 6, "cd" * 32, max_batch_size=1)
    assert (await encoder.embed(PIXELS)).shape == (2, 4)
    assert [request["pixels"][0] for request in client.requests] == [2, 1, 1]


@pytest.mark.parametrize("inputs", [frozenset({"input_ids"}), frozenset({"input_ids", "attention_mask"})])
async def test_texts_are_sent_with_a_mask_only_if_the_model_has_that_input(
    tmp_path: Path, inputs: frozenset[str]
) -> None:
    client = FakeClient(unit_rows)
    tokenizer = load_bundle(BundleFiles().write(tmp_path / "bundle")).load_tokenizer()
    embeddings = await TextEncoder(model(client, inputs), tokenizer).embed(["milk", "fresh kiwi"])
    assert client.requests == [{name: [2, 6] for name in inputs}]
    assert embeddings.shape == (2, 4)


async def test_no_texts_give_no_rows_and_no_request(tmp_path: Path) -> None:
    client = FakeClient(unit_rows)
    tokenizer = load_bundle(BundleFiles().write(tmp_path / "bundle")).load_tokenizer()
    assert (await TextEncoder(model(client), tokenizer).embed([])).shape == (0, 4)
    assert not client.requests


async def test_an_address_with_a_scheme_is_refused_immediately() -> None:
    with pytest.raises(FramematchError, match="scheme"):
        await ImageEncoder.connect("http://127.0.0.1:8000")


@pytest.mark.parametrize(("message", "unreachable"), [("no connection", True), ("Stub process is not healthy", False)])
async def test_only_a_triton_without_an_answer_is_unreachable(message: str, unreachable: bool) -> None:
    client = FakeClient(lambda _rows: failure("UNAVAILABLE", message))
    with pytest.raises(TritonUnavailableError) as caught:
        await ImageEncoder(model(client)).embed(PIXELS)
    assert caught.value.unreachable is unreachable
