"""The encoders and the served code with the real Triton: batches, failures, restarts and reloads."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException
from typer.testing import CliRunner

from framematch.cli.model import app
from framematch.core.errors import ModelError, ModelMismatchError, TritonUnavailableError
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.reload import Reload, reload_models
from framematch.model_build.repository.build_options import BuildOptions, CpuPlan
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder, TextEncoder
from framematch.vision.manifest import Target
from tests.repositories import tower_folder
from tests.support import eventually, freeze, resume
from tests.unit.model_build.bundles import (
    CONTEXT_LENGTH,
    DIMENSION,
    SIDE,
    WORDS,
    BundleFiles,
    image_tower,
    weights,
)

pytestmark = pytest.mark.integration

PIXELS = np.random.default_rng(8).integers(0, 256, (11, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(BundleFiles().write(tmp_path_factory.mktemp("bundles") / "small"))


@pytest.fixture(scope="module")
def small_triton(
    bundle: Bundle, start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory
) -> TritonServer:
    repository = tmp_path_factory.mktemp("small")
    build_model_repository(bundle, repository, BuildOptions(max_batch_size=4))
    return start_triton(repository)


@pytest.fixture(scope="module")
def url(small_triton: TritonServer) -> str:
    return small_triton.url


@pytest.fixture
def own_triton(tmp_path: Path) -> Iterator[TritonServer]:
    """A server over an empty repository, for tests that stop it or load other models."""
    server = TritonServer(tmp_path / "server", tmp_path / "repository")
    server.start()
    yield server
    server.stop()


def build(bundle: Path, server: TritonServer) -> str:
    arguments = ["build", "--from", str(bundle), "--out", str(server.model_repository)]
    result = CliRunner().invoke(
        app, arguments, env={"TRITON_URL": server.url, "TRITON_REPOSITORY_KEY": server.repository_key}
    )
    assert result.exit_code == 0, result.output
    return result.output


def other_model(folder: Path) -> Path:
    return BundleFiles(image=image_tower(weights(3 * SIDE * SIDE, seed=9))).write(folder)


def lookup_text_tower() -> onnx.ModelProto:
    """`text_embeds` = mean of the ids' rows in a table of six."""
    nodes = [
        onnx.helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        onnx.helper.make_node("ReduceMean", ["rows"], ["text_embeds"], axes=[1], keepdims=0),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "lookup",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["B", "L"])],
        [onnx.helper.make_tensor_value_info("text_embeds", onnx.TensorProto.FLOAT, ["B", DIMENSION])],
        [onnx.numpy_helper.from_array(weights(len(WORDS)), "table")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def text_inputs(token_id: int) -> list[InferInput]:
    ids = np.full((1, CONTEXT_LENGTH), token_id, np.int64)
    return [InferInput("input_ids", list(ids.shape), "INT64").set_data_from_numpy(ids)]


async def embed_when_back(encoder: ImageEncoder) -> npt.NDArray[np.float32]:
    """The embeddings of `PIXELS`, when Triton answers again."""
    answers: list[npt.NDArray[np.float32]] = []

    async def answered() -> bool:
        try:
            answers.append(await encoder.embed(PIXELS))
        except TritonUnavailableError:
            return False
        return True

    await eventually(answered)
    return answers[0]


async def test_a_batch_above_the_maximum_has_the_same_rows_as_single_pictures(url: str) -> None:
    async with await ImageEncoder.connect(url) as encoder:
        assert encoder.manifest.max_batch_size == 4
        together = await encoder.embed(PIXELS)
        single = [await encoder.embed(PIXELS[row : row + 1]) for row in range(len(PIXELS))]
    np.testing.assert_allclose(together, np.concatenate(single), atol=1e-6)


async def test_concurrent_batches_each_get_their_own_rows(url: str) -> None:
    async with await ImageEncoder.connect(url) as encoder:
        alone = await encoder.embed(PIXELS)
        slices = [slice(first, first + 1 + first % 3) for first in range(len(PIXELS) - 2)] * 4
        answers = await asyncio.gather(*(encoder.embed(PIXELS[part]) for part in slices))
    for part, answer in zip(slices, answers, strict=True):
        np.testing.assert_allclose(answer, alone[part], atol=1e-6)


async def test_two_instances_of_one_thread_have_the_rows_of_one_instance(
    url: str, bundle: Bundle, own_triton: TritonServer
) -> None:
    options = BuildOptions(max_batch_size=4, cpu_plan=CpuPlan(instances=2, threads=1))
    manifest = build_model_repository(bundle, own_triton.model_repository, options)
    assert await reload_models(own_triton.url, manifest, key=own_triton.repository_key) is Reload.LOADED
    async with await ImageEncoder.connect(url) as one, await ImageEncoder.connect(own_triton.url) as two:
        expected = await one.embed(PIXELS)
        answers = await asyncio.gather(*(two.embed(PIXELS) for _ in range(8)))
    for answer in answers:
        np.testing.assert_allclose(answer, expected, atol=1e-6)


@pytest.mark.parametrize(("target", "backend"), [("onnx", "onnxruntime"), ("tensorrt", "tensorrt")])
async def test_a_triton_without_the_target_s_backend_is_an_error_with_a_hint(
    bundle: Bundle, own_triton: TritonServer, target: Target, backend: str
) -> None:
    manifest = build_model_repository(bundle, own_triton.model_repository, BuildOptions(target))
    with pytest.raises(ModelError, match=f"backend '{backend}'") as caught:
        await reload_models(own_triton.url, manifest, key=own_triton.repository_key)
    assert "\n" not in caught.value.message
    assert "--target cpu" in caught.value.hint
    with pytest.raises(TritonUnavailableError, match=f"backend '{backend}'") as connecting:
        await ImageEncoder.connect(own_triton.url, timeout_s=0.5, key=own_triton.repository_key)
    assert "--target cpu" in connecting.value.hint


async def test_a_request_that_fails_does_not_fail_its_batch(tmp_path: Path, own_triton: TritonServer) -> None:
    """An embedding lookup refuses ids outside its table, so one bad request breaks the run of the whole batch."""
    await asyncio.to_thread(build, BundleFiles(text=lookup_text_tower()).write(tmp_path / "bundle"), own_triton)
    name = tower_folder(own_triton.model_repository, "clip_text").name
    client = InferenceServerClient(own_triton.url)
    try:
        answers = await asyncio.gather(
            *(client.infer(name, text_inputs(token_id)) for token_id in (3, 999, 4, 999)), return_exceptions=True
        )
    finally:
        await client.close()
    assert [isinstance(answer, InferenceServerException) for answer in answers] == [False, True, False, True]


async def test_a_model_that_is_not_in_the_repository_is_named_with_the_command_that_builds_it(url: str) -> None:
    with pytest.raises(ModelError, match="no model clip_image_cafecafecafe") as caught:
        await ImageEncoder.connect(url, "cafe" * 16)
    assert "framematch model build" in caught.value.hint


async def test_texts_are_embedded_with_the_tokenizer_that_triton_serves(url: str, bundle: Bundle) -> None:
    async with await TextEncoder.connect(url) as encoder:
        embeddings = await encoder.embed(["milk", "fresh kiwi", "milk"] * 3)
        assert encoder.tokenizer.digest == bundle.load_tokenizer().digest
    assert embeddings.shape == (9, 4)
    np.testing.assert_array_equal(embeddings[0], embeddings[2])
    assert not np.allclose(embeddings[0], embeddings[1])


async def test_an_unreachable_address_is_a_retriable_error_after_the_timeout(dead_address: str) -> None:
    with pytest.raises(TritonUnavailableError) as caught:
        await ImageEncoder.connect(dead_address, timeout_s=0.5)
    assert caught.value.hint


async def test_a_killed_triton_is_a_retriable_error_until_it_is_back(bundle: Bundle, own_triton: TritonServer) -> None:
    await asyncio.to_thread(build, bundle.path, own_triton)
    async with await ImageEncoder.connect(own_triton.url) as encoder:
        before = await encoder.embed(PIXELS)
        own_triton.kill()
        with pytest.raises(TritonUnavailableError):
            await encoder.embed(PIXELS)
        own_triton.start()
        np.testing.assert_allclose(await embed_when_back(encoder), before, atol=1e-6)


async def test_a_triton_that_hangs_is_a_retriable_error_after_the_request_s_timeout(
    bundle: Bundle, own_triton: TritonServer
) -> None:
    await asyncio.to_thread(build, bundle.path, own_triton)
    async with await ImageEncoder.connect(own_triton.url, request_timeout_s=0.5) as encoder:
        freeze(own_triton.pid)
        try:
            with pytest.raises(TritonUnavailableError):
                await encoder.embed(PIXELS)
        finally:
            resume(own_triton.pid)
        assert (await embed_when_back(encoder)).shape == (len(PIXELS), DIMENSION)


async def test_a_restarted_triton_with_another_model_under_the_name_is_refused(
    bundle: Bundle, own_triton: TritonServer, tmp_path: Path
) -> None:
    """Only a repository that was changed by hand has that."""
    await asyncio.to_thread(build, bundle.path, own_triton)
    repository = own_triton.model_repository
    name = tower_folder(repository).name
    async with await ImageEncoder.connect(own_triton.url) as encoder:
        own_triton.stop()
        with pytest.raises(TritonUnavailableError):
            await encoder.embed(PIXELS)
        build_model_repository(load_bundle(other_model(tmp_path / "other")), tmp_path / "elsewhere")
        shutil.rmtree(repository)
        other = tower_folder(tmp_path / "elsewhere")
        shutil.copytree(other, repository / name)
        config = repository / name / "config.pbtxt"
        config.write_text(config.read_text().replace(f'name: "{other.name}"', f'name: "{name}"'))
        own_triton.start()
        with pytest.raises(ModelMismatchError, match="now serves other"):
            await embed_when_back(encoder)


def test_build_makes_a_running_triton_load_the_models_and_later_ones(
    bundle: Bundle, own_triton: TritonServer, tmp_path: Path
) -> None:
    assert "now serves it" in build(bundle.path, own_triton)
    assert "now serves it" in build(other_model(tmp_path / "other"), own_triton)


def test_build_reports_a_running_triton_of_another_repository(
    bundle: Bundle, small_triton: TritonServer, tmp_path: Path
) -> None:
    arguments = ["build", "--from", str(bundle.path), "--out", str(tmp_path / "elsewhere"), "--max-batch-size", "2"]
    environment = {"TRITON_URL": small_triton.url, "TRITON_REPOSITORY_KEY": small_triton.repository_key}
    result = CliRunner().invoke(app, arguments, env=environment)
    assert result.exit_code == 0
    assert "serves another model repository" in result.output
