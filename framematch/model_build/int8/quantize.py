"""Quantises an image tower to int8: weights per output channel, activations by the ranges of calibration pictures.

Ranges are from the lowest to the highest value. In the measurements of `nodes.py`, ONNX Runtime's entropy method gave
the same cosines. Leaving out a thousandth of a percent of the values made the ViT a little better (0.9971 against
0.9967) and the CNN worse (0.9922 against 0.9951). Activations are unsigned, because signed ones took 2.3 times as long
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

from framematch.core.arrays import Pixels
from framematch.core.errors import ModelError
from framematch.core.progress import OnProgress
from framematch.model_build.int8.nodes import KINDS, PRODUCTS, name_nodes, nodes_for_int8
from framematch.model_build.int8.smooth import smooth, smooth_points
from framematch.model_build.onnx_session import ORT_ERRORS, OnnxSession, first_line

# Calibration keeps the activations of one batch in memory, about 50 MB per picture of a ViT-L/14.
_BATCH_SIZE = 4
# The optimised graph, the graph to quantise, and the quantiser's copies; 3.3 times the graph's size was enough.
_TEMPORARY_COPIES = 4
_FP32_HINT = "Build it as fp32"


def quantize_image_tower(
    graph: bytes, calibration: Pixels, *, on_progress: OnProgress = lambda _done, _total: None
) -> bytes:
    """The folded image tower `graph` as int8: `pixels` uint8 [N, H, W, 3] -> `embedding` float32 [N, D], in QDQ form.

    The same graph and pictures give the same bytes. `compare_towers` measures the quality of its embeddings.
    `calibration` is uint8 [N, H, W, 3], N at least 1, preprocessed like the served pictures. `on_progress` counts
    pictures; each is computed twice.

    Raises:
        ModelError: int8 gains nothing, ONNX Runtime cannot run or quantise the graph, or disk space is missing.
    """
    OnnxSession(graph).embed({"pixels": calibration[:1]})  # a clear error for a graph or pictures that do not fit
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
    """Check the disk space first, because ONNX Runtime reports a full disk as a failed serialisation."""
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
    """The graph after ONNX Runtime's basic optimisations, which fold constants, so that each weight is a constant."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    model = onnx.load(path)
    add_pre_process_metadata(model)  # else the quantiser warns that the graph is not optimised
    return model


def _even_out(model: ModelProto, calibration: Pixels, on_done: Callable[[int], None]) -> None:
    points = smooth_points(model)
    if not points:
        return
    observed = ModelProto()
    observed.CopyFrom(model)
    names = [point.tensor for point in points]
    observed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(observed.SerializeToString(), providers=["CPUExecutionProvider"])
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
        # Results of products feed sums and activations in fp32: rounding them would cost precision and time.
        extra_options={"OpTypesToExcludeOutputQuantization": list(PRODUCTS)},
    )
    quantised: bytes = onnx.load(result).SerializeToString(deterministic=True)
    return quantised


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime publishes no types
    """Feeds the pictures in batches, once; `on_done` gets the number of pictures before each batch."""

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
