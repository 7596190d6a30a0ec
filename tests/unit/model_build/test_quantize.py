"""int8 of small towers with ONNX Runtime's real quantiser, and the report's figures against computed ones."""

import errno
import logging
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from framematch.core.errors import ModelError
from framematch.model_build.graphs.fold import fold_image_tower
from framematch.model_build.int8.nodes import name_nodes, nodes_for_int8
from framematch.model_build.int8.quantize import quantize_image_tower
from framematch.model_build.int8.report import (
    QuantizationLimits,
    QuantizationReport,
    Retrieval,
    compare_embeddings,
    compare_towers,
)
from framematch.model_build.int8.smooth import smooth, smooth_points
from framematch.model_build.onnx_session import OnnxSession, embed_pictures
from framematch.vision.manifest import PreprocessSpec
from tests.unit.model_build.bundles import DIMENSION as BUNDLE_DIMENSION
from tests.unit.model_build.bundles import SIDE as BUNDLE_SIDE
from tests.unit.model_build.bundles import image_tower
from tests.unit.model_build.convnets import SIDE, colourful_pictures, convnet, transformer

CALIBRATING, JUDGING = colourful_pictures(32, seed=1), colourful_pictures(32, seed=2)
REFERENCE = convnet()


@pytest.fixture(scope="module")
def int8() -> bytes:
    return quantize_image_tower(REFERENCE, CALIBRATING)


def kinds(graph: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    matrix = np.array(rows, np.float32)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def test_a_quantised_tower_keeps_its_input_output_and_embeddings(int8: bytes) -> None:
    report = compare_towers(REFERENCE, int8, JUDGING, None)
    assert report.pictures == len(JUDGING)
    assert report.mean_cosine > 0.99
    assert report.problems() == []
    report.require()
    (pixels,) = onnx.load_from_string(int8).graph.input
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert (
        OnnxSession(int8).embed({"pixels": JUDGING[:1]}).shape
        == OnnxSession(REFERENCE).embed({"pixels": JUDGING[:1]}).shape
    )


def test_the_same_graph_and_pictures_give_the_same_bytes(int8: bytes) -> None:
    assert quantize_image_tower(REFERENCE, CALIBRATING) == int8


def test_the_stem_and_the_projection_stay_fp32_and_the_block_is_int8() -> None:
    model = onnx.load_from_string(REFERENCE)
    name_nodes(model)
    chosen = [name.partition("/")[2] for name in nodes_for_int8(model)]
    assert sorted(chosen) == ["Add", "Conv", "Conv", "Conv", "Relu", "Relu"]
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    assert stem.name not in nodes_for_int8(model)


def test_attention_itself_stays_fp32() -> None:
    model = onnx.load_from_string(transformer(decomposed=False))
    name_nodes(model)
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    assert nodes_for_int8(model) == [node.name for node in products[:2]]


@pytest.mark.parametrize("decomposed", [False, True])
def test_an_uneven_channel_does_not_cost_the_others_their_precision(decomposed: bool) -> None:
    uneven = transformer(decomposed=decomposed, uneven=50.0)
    report = compare_towers(uneven, quantize_image_tower(uneven, CALIBRATING), JUDGING, None)
    assert report.problems() == []


@pytest.mark.parametrize("decomposed", [False, True])
def test_evening_out_changes_weights_and_no_embedding(decomposed: bool) -> None:
    graph = transformer(decomposed=decomposed, uneven=50.0)
    model = onnx.load_from_string(graph)
    (point,) = smooth_points(model)
    assert len(point.vectors) == len(point.matrices) == 2
    smooth(model, {point.tensor: np.linspace(1, 50, 8, dtype=np.float32)})
    changed = model.SerializeToString()
    assert changed != graph
    expected = embed_pictures(OnnxSession(graph), JUDGING)
    np.testing.assert_allclose(embed_pictures(OnnxSession(changed), JUDGING), expected, atol=1e-5)


def test_a_tower_calibrated_with_black_pictures_is_refused_with_the_figures() -> None:
    broken = quantize_image_tower(REFERENCE, np.zeros_like(CALIBRATING))
    with pytest.raises(ModelError, match=r"mean cosine to fp32 0\.\d+, at least 0\.99 wanted") as caught:
        compare_towers(REFERENCE, broken, JUDGING, None).require()
    assert "--force" in caught.value.hint


def test_another_model_as_candidate_is_refused() -> None:
    report = compare_towers(REFERENCE, convnet(seed=9), JUDGING, None)
    assert len(report.problems()) >= 2


def test_progress_ends_at_the_total_and_standard_output_stays_clean(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, int]] = []
    with caplog.at_level(logging.WARNING):
        quantize_image_tower(transformer(decomposed=False), CALIBRATING, on_progress=lambda *step: seen.append(step))
    assert seen == sorted(seen)
    assert seen[-1] == (64, 64)
    assert capfd.readouterr().out == ""
    assert caplog.messages == []


def test_a_tower_without_layers_for_int8_is_refused() -> None:
    spec = PreprocessSpec(BUNDLE_SIDE, BUNDLE_SIDE, BUNDLE_SIDE, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    graph = fold_image_tower(image_tower(), spec, BUNDLE_DIMENSION).SerializeToString()
    pictures = np.zeros((8, BUNDLE_SIDE, BUNDLE_SIDE, 3), np.uint8)
    with pytest.raises(ModelError, match="no layers that int8 would make faster"):
        quantize_image_tower(graph, pictures)


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ModelError, match="the graph does not run"):
        quantize_image_tower(REFERENCE, np.zeros((8, SIDE + 1, SIDE, 3), np.uint8))


def test_a_full_disk_is_an_error_with_the_folder_and_the_needed_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(onnx, "save", full)
    with pytest.raises(ModelError, match="No space left") as caught:
        quantize_image_tower(REFERENCE, CALIBRATING)
    assert str(tmp_path) in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_an_error_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match="temporary files do not fit: 0 MB are free") as caught:
        quantize_image_tower(REFERENCE, CALIBRATING)
    assert "TMPDIR" in caught.value.hint


def test_cosines_and_neighbours_are_those_computed_by_hand() -> None:
    expected = unit((1, 0), (1, 0.1), (0, 1), (0.1, 1))
    actual = unit((1, 0), (1, 0.1), (0, 1), (1, 0.2))
    report = compare_embeddings(expected, actual, None)
    last = (0.1 * 1 + 1 * 0.2) / (1.01**0.5 * 1.04**0.5)
    assert report.lowest_cosine == pytest.approx(last, abs=1e-6)
    assert report.mean_cosine == pytest.approx((3 + last) / 4, abs=1e-6)
    # Of the rows 0..3 the nearest were 1, 0, 3, 2 and are 1, 3, 3, 1.
    assert report.same_neighbour == 0.5
    assert report.retrieval is None


def test_retrieval_counts_pictures_whose_nearest_other_one_has_their_label() -> None:
    expected = unit((1, 0), (1, 0.1), (0, 1), (0.1, 1), (-1, 0))
    actual = unit((1, 0), (1, 0.1), (0, 1), (1, 0.2), (-1, 0))
    report = compare_embeddings(expected, actual, ["milk", "milk", "kiwi", "kiwi", "alone"])
    # Nearest were 1, 0, 3, 2: all four right. They are 1, 3, 3, 1: the first and the third.
    assert report.retrieval == Retrieval(queries=4, before=1.0, after=0.5, lost=2, gained=0)


def test_labels_without_a_pair_give_no_retrieval() -> None:
    rows = unit((1, 0), (0, 1), (1, 1))
    assert compare_embeddings(rows, rows, ["a", "b", "c"]).retrieval is None


def report_with(retrieval: Retrieval) -> QuantizationReport:
    return QuantizationReport(
        pictures=200, mean_cosine=0.999, lowest_cosine=0.99, same_neighbour=0.9, retrieval=retrieval
    )


def test_a_drop_within_chance_passes_and_a_larger_one_does_not() -> None:
    # 6 lost and 4 gained of 200: a drop of 0.01, whose deviation is sqrt(10 - 4/200) / 200 = 0.0158.
    by_chance = Retrieval(queries=200, before=0.90, after=0.89, lost=6, gained=4)
    assert by_chance.drop_beyond_chance == pytest.approx(0.01 - 1.645 * 0.0158, abs=1e-4)
    assert report_with(by_chance).problems() == []
    # 20 lost: a drop of 0.10, whose deviation is sqrt(20 - 400/200) / 200 = 0.0212.
    real = Retrieval(queries=200, before=0.90, after=0.80, lost=20, gained=0)
    (problem,) = report_with(real).problems()
    assert problem == "retrieval 90.0% in fp32, 80.0% in int8, a drop of at most 1 points wanted"


def test_other_limits_can_be_given() -> None:
    report = QuantizationReport(pictures=9, mean_cosine=0.98, lowest_cosine=0.90, same_neighbour=0.5, retrieval=None)
    assert len(report.problems()) == 3
    assert report.problems(QuantizationLimits(mean_cosine=0.97, lowest_cosine=0.8, same_neighbour=0.4)) == []


def test_a_tower_that_returns_nan_is_a_problem() -> None:
    expected = unit((1, 0), (1, 0.1), (0, 1))
    assert compare_embeddings(expected, np.full_like(expected, np.nan), None).problems()


def test_towers_of_other_dimensions_are_refused() -> None:
    other = onnx.load_from_string(REFERENCE)
    weight = next(tensor for tensor in other.graph.initializer if tensor.dims == [64, 16])
    weight.CopyFrom(onnx.numpy_helper.from_array(np.ones((64, 8), np.float32), weight.name))
    other.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8
    with pytest.raises(ModelError, match="16 and 8 dimensions"):
        compare_towers(REFERENCE, other.SerializeToString(), JUDGING, None)
