"""Makes an int8 image tower: weights by output channel, activations by the ranges that calibration pictures give.

Ranges are the lowest and the highest value seen. In the measurements of `quantize_nodes`, ONNX Runtime's entropy method
gave the same cosines, and leaving out a thousandth of a percent of the values made the ViT a little better (0.9971
against 0.9967) and the CNN worse (0.9922 against 0.9951). Activations are unsigned: signed ones took 2.3 times as long
in the CNN on x86.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from framematch.core.errors import ModelError
from framematch.core.progress import OnProgress
from framematch.model_build.int8.nodes import KINDS, PRODUCTS, name_nodes, nodes_for_int8
from framematch.model_build.int8.report import QuantizationLimits, QuantizationReport, compare_towers
from framematch.model_build.int8.smooth import smooth, smooth_points
from framematch.model_build.onnx_session import ORT_ERRORS, OnnxSession, first_line
from framematch.vision.arrays import Pixels

__all__ = ["QuantizationLimits", "QuantizationReport", "compare_towers", "quantize_image_tower"]


# Calibration keeps the activations of one batch in memory: of a ViT-L/14 about 50 MB a picture.
_BATCH_SIZE = 4
# The optimised graph, the one to quantise, and copies that the quantiser makes of it; 3.3 times the graph was enough.
_TEMPORARY_COPIES = 4
_FP32_HINT = "Build it as fp32"


def quantize_image_tower(
    graph: bytes, calibration: Pixels, *, on_progress: OnProgress = lambda _done, _total: None
) -> bytes:
    """The folded image tower `graph` as int8: same input, same output, one serialised graph in QDQ form.

    The same graph and pictures give the same bytes. Whether the embeddings are still good is `compare_towers`' to say.

    Args:
        graph: `pixels` uint8 [N, H, W, 3] -> `embedding` float32 [N, D].
        calibration: uint8 [N, H, W, 3], N at least 1, preprocessed as the served pictures will be.
        on_progress: gets the pictures done and to do; each is computed twice.

    Raises:
        ModelError: the graph has nothing to gain, ONNX Runtime cannot run or quantise it, or there is no disk space.
    """
    OnnxSession(graph).embed({"pixels": calibration[:1]})  # refuses a graph or pictures that do not fit, by name
    total = 2 * len(calibration)
    try:
        with tempfile.TemporaryDirectory(prefix="framematch-int8-") as folder:
            _require_space(Path(folder), len(graph))
            model = _optimised(graph, Path(folder) / "optimised.onnx")
            name_nodes(model)
            _even_out(model, calibration, lambda done: on_progress(done, total))
            batches = _Batches(calibration, lambda done: on_progress(len(calibration) + done, total))
            quantised = _quantised(model, batches, Path(folder))
    except OSError as error:
        raise ModelError(
            f"cannot write the quantiser's temporary files: {error}",
            hint=_space_hint(len(graph)),
        ) from error
    except ORT_ERRORS as error:
        raise ModelError(
            f"ONNX Runtime cannot quantise the image tower: {first_line(error)}", hint=_FP32_HINT
        ) from error
    on_progress(total, total)
    return quantised


def _require_space(folder: Path, graph_bytes: int) -> None:
    """Say it before: ONNX Runtime calls a full disk a failed serialisation.

    Raises:
        ModelError: the disk has less free than the quantiser's files take.
    """
    free = shutil.disk_usage(folder).free
    if free < _TEMPORARY_COPIES * graph_bytes:
        raise ModelError(
            f"the quantiser's temporary files do not fit: {free // 1_000_000} MB are free in {folder.parent}",
            hint=_space_hint(graph_bytes),
        )


def _space_hint(graph_bytes: int) -> str:
    needed_mb = _TEMPORARY_COPIES * graph_bytes // 1_000_000 + 1
    return f"Free {needed_mb} MB in {tempfile.gettempdir()}, or name another folder in TMPDIR"


def _optimised(graph: bytes, path: Path) -> ModelProto:
    """The graph after ONNX Runtime's basic optimisations: constants folded, so that each weight is a constant."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    model = onnx.load(path)
    add_pre_process_metadata(model)  # or the quantiser asks for what was just done
    return model


def _even_out(model: ModelProto, calibration: Pixels, on_done: Callable[[int], None]) -> None:
    points = smooth_points(model)
    if not points:
        return
    watched = ModelProto()
    watched.CopyFrom(model)
    names = [point.tensor for point in points]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    largest: dict[str, Any] = dict.fromkeys(names, 0)
    for feed in _Batches(calibration, on_done):
        for name, value in zip(names, session.run(names, feed), strict=True):
            highest = np.abs(value).max(axis=tuple(range(value.ndim - 1)))
            largest[name] = np.maximum(largest[name], highest)
    smooth(model, largest)


def _quantised(model: ModelProto, batches: "_Batches", folder: Path) -> bytes:
    nodes = nodes_for_int8(model)
    if not nodes:
        raise ModelError("the image tower has no layers that int8 would make faster", hint=_FP32_HINT)
    source, result = folder / "source.onnx", folder / "int8.onnx"
    onnx.save(model, source)
    quantize_static(
        source,
        result,
        batches,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(KINDS),
        nodes_to_quantize=nodes,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        # A product's result goes to sums and activations in fp32: rounding it would cost precision and time.
        extra_options={"OpTypesToExcludeOutputQuantization": list(PRODUCTS)},
    )
    quantised: bytes = onnx.load(result).SerializeToString(deterministic=True)
    return quantised


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime publishes no types
    """Feeds the pictures in batches, once, and reports those that were taken before."""

    def __init__(self, pictures: Pixels, on_done: Callable[[int], None]) -> None:
        self._feeds = self._walk(pictures, on_done)

    def get_next(self) -> dict[str, Pixels] | None:
        """The next batch, or None after the last."""
        return next(self._feeds, None)

    @staticmethod
    def _walk(pictures: Pixels, on_done: Callable[[int], None]) -> Iterator[dict[str, Pixels]]:
        for start in range(0, len(pictures), _BATCH_SIZE):
            on_done(start)
            yield {"pixels": pictures[start : start + _BATCH_SIZE]}
