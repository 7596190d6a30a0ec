"""The output of each target: configuration, files, precision. Triton's protobuf parses the configurations."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.graphs.fold import fold_image_tower
from framematch.model_build.graphs.towers import ServedInput, Tower, fold_towers
from framematch.model_build.onnx_session import OnnxSession
from framematch.model_build.repository import targets
from framematch.model_build.repository.build_options import BuildOptions, CpuPlan
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.model_build.repository.targets.half import half_precision
from framematch.vision.manifest import ModelManifest, Precision, Target
from tests.repositories import read_config, tower_folder
from tests.unit.model_build.bundles import DIMENSION, SIDE, BundleFiles, weights

SERVED_CODE = Path(targets.__file__).with_name("python_backend.py")
PIXELS = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(BundleFiles().write(tmp_path / "small"))


def built(bundle: Bundle, folder: Path, options: BuildOptions) -> tuple[ModelManifest, model_config_pb2.ModelConfig]:
    """The manifest, and the image model's configuration."""
    manifest = build_model_repository(bundle, folder, options)
    return manifest, read_config(tower_folder(folder))


def squaring_tower(bundle: Bundle, scale: float) -> Tower:
    """An image tower with a layer norm of several operators, with activations of about `scale`."""
    initializers = [
        numpy_helper.from_array(weights(3 * SIDE * SIDE) * np.float32(scale), "matrix"),
        numpy_helper.from_array(np.array(2, np.float32), "two"),
        numpy_helper.from_array(np.array(1e-5, np.float32), "epsilon"),
    ]
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["x"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Pow", ["centred", "two"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
        helper.make_node("Add", ["variance", "epsilon"], ["above_zero"]),
        helper.make_node("Sqrt", ["above_zero"], ["deviation"]),
        helper.make_node("Div", ["centred", "deviation"], ["image_embeds"]),
    ]
    graph = helper.make_graph(
        nodes,
        "normed",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["B", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["B", DIMENSION])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folded = fold_image_tower(model, bundle.preprocess, DIMENSION)
    return Tower(folded.SerializeToString(), [ServedInput("pixels", "TYPE_UINT8", (SIDE, SIDE, 3))])


def cosines(first: bytes, second: bytes) -> Any:
    a, b = (OnnxSession(graph, threads=1).embed({"pixels": PIXELS}) for graph in (first, second))
    return np.einsum("ij,ij->i", a, b)


@pytest.fixture
def served_code(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """python_backend.py, with a fake of the module that only Triton has."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("triton_python_backend_utils"))
    spec = importlib.util.spec_from_file_location("served", SERVED_CODE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cpu_target_has_the_plan_s_instances_and_threads(bundle: Bundle, tmp_path: Path) -> None:
    _, config = built(bundle, tmp_path / "r", BuildOptions(cpu_plan=CpuPlan(instances=2, threads=3)))
    assert config.backend == "python"
    assert [(group.kind, group.count) for group in config.instance_group] == [
        (model_config_pb2.ModelInstanceGroup.KIND_CPU, 2)
    ]
    assert config.parameters["threads"].string_value == "3"


@pytest.mark.parametrize(
    ("parameters", "instances", "cores", "threads"),
    [
        ({"threads": {"string_value": "0"}}, 1, 6, 6),
        ({"threads": {"string_value": "0"}}, 2, 6, 3),
        ({"threads": {"string_value": "0"}}, 4, 2, 1),
        ({"threads": {"string_value": "3"}}, 2, 8, 3),
        ({"threads": {"string_value": "8"}}, 1, 2, 2),
        ({}, 1, 4, 4),
    ],
)
def test_the_plan_s_threads_are_limited_by_the_cores_when_triton_loads_the_model(
    served_code: ModuleType, parameters: dict[str, Any], instances: int, cores: int, threads: int
) -> None:
    config = {"instance_group": [{"count": instances}], "parameters": parameters}
    assert served_code._threads(config, cores) == threads  # noqa: SLF001  # the rest of the file needs a Triton


def test_the_onnx_target_runs_in_triton_s_onnxruntime_backend_on_the_gpu(bundle: Bundle, tmp_path: Path) -> None:
    manifest, config = built(bundle, tmp_path / "r", BuildOptions("onnx"))
    assert (config.backend, manifest.target, manifest.precision) == ("onnxruntime", "onnx", "fp32")
    assert [group.kind for group in config.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_GPU]
    assert config.parameters["cudnn_conv_algo_search"].string_value == "1"
    assert not (tower_folder(tmp_path / "r") / "1" / "model.py").exists()


def test_the_tensorrt_target_serves_a_plan_in_half_precision_that_is_built_later(
    bundle: Bundle, tmp_path: Path
) -> None:
    manifest, config = built(bundle, tmp_path / "r", BuildOptions("tensorrt"))
    assert (config.platform, manifest.target, manifest.precision) == ("tensorrt_plan", "tensorrt", "fp16")
    assert [group.kind for group in config.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_GPU]
    assert [path.name for path in (tower_folder(tmp_path / "r") / "1").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(("target", "batches"), [("cpu", [1]), ("onnx", [1, 4, 8]), ("tensorrt", [1, 4, 8])])
def test_a_gpu_is_warmed_up_with_every_preferred_batch(
    bundle: Bundle, tmp_path: Path, target: Target, batches: list[int]
) -> None:
    _, config = built(bundle, tmp_path / "r", BuildOptions(target, max_batch_size=8))
    assert [sample.batch_size for sample in config.model_warmup] == batches
    assert all(set(sample.inputs) == {"pixels"} for sample in config.model_warmup)
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]


@pytest.mark.parametrize("target", ["cpu", "onnx", "tensorrt"])
def test_all_targets_look_the_same_to_clients(bundle: Bundle, tmp_path: Path, target: Target) -> None:
    reference, expected = built(bundle, tmp_path / "cpu", BuildOptions())
    manifest, config = built(bundle, tmp_path / "other", BuildOptions(target))
    assert (list(config.input), list(config.output)) == (list(expected.input), list(expected.output))
    assert manifest.same_space(reference)


def test_the_uint8_pixels_of_an_engine_are_only_the_input_of_a_cast(bundle: Bundle, tmp_path: Path) -> None:
    """TensorRT accepts uint8 only there."""
    build_model_repository(bundle, tmp_path / "r", BuildOptions("tensorrt"))
    graph = onnx.load(tower_folder(tmp_path / "r") / "1" / "model.onnx").graph
    assert [node.op_type for node in graph.node if "pixels" in node.input] == ["Cast"]


@pytest.mark.parametrize(("target", "precision"), [("cpu", "fp16"), ("onnx", "int8"), ("tensorrt", "int8")])
def test_a_precision_that_the_target_does_not_run_is_refused_with_those_that_it_does(
    target: Target, precision: Precision
) -> None:
    with pytest.raises(ModelError, match=f"{target} does not run {precision}") as caught:
        BuildOptions(target, precision)
    assert "fp32" in caught.value.hint


def test_given_towers_are_served_and_determine_the_digest(bundle: Bundle, tmp_path: Path) -> None:
    towers = fold_towers(bundle)
    image = onnx.load_from_string(towers["clip_image"].graph)
    image.doc_string = "another"
    towers["clip_image"] = Tower(image.SerializeToString(), towers["clip_image"].inputs)
    fp32 = build_model_repository(bundle, tmp_path / "fp32")
    int8 = build_model_repository(bundle, tmp_path / "int8", BuildOptions(precision="int8"), towers=towers)
    assert (tower_folder(tmp_path / "int8") / "1" / "model.onnx").read_bytes() == towers["clip_image"].graph
    assert int8.precision == "int8"
    assert not int8.same_space(fp32)


def test_half_precision_keeps_the_embeddings_and_halves_the_weights(bundle: Bundle) -> None:
    tower = fold_towers(bundle)["clip_image"]
    half = half_precision(tower)
    assert (cosines(tower.graph, half.graph) > 0.99999).all()
    types = {item.name: item.data_type for item in onnx.load_from_string(half.graph).graph.initializer}
    assert types["tower/matrix"] == TensorProto.FLOAT16
    assert types["pixel_scale"] == TensorProto.FLOAT


def test_half_precision_works_with_activations_whose_squares_exceed_fp16(bundle: Bundle) -> None:
    tower = squaring_tower(bundle, scale=200)
    assert (cosines(tower.graph, half_precision(tower).graph) > 0.9999).all()


def test_half_precision_works_with_an_embedding_whose_squared_length_exceeds_fp16(tmp_path: Path) -> None:
    files = BundleFiles()
    matrix = next(item for item in files.image.graph.initializer if item.name == "matrix")
    matrix.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(matrix) * np.float32(100), "matrix"))
    tower = fold_towers(load_bundle(files.write(tmp_path / "long")))["clip_image"]
    assert (cosines(tower.graph, half_precision(tower).graph) > 0.9999).all()
