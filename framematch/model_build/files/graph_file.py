"""Reads an ONNX file with all its weights, and describes the graph's inputs and outputs."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # publishes no types
from onnx import ModelProto, TensorProto, ValueInfoProto

from framematch.core.errors import ModelError
from framematch.model_build.files.external_data import ExternalData
from framematch.model_build.files.graph_walk import all_tensors
from framematch.vision.model_files import COPY_AGAIN_HINT, require_no_lfs_pointer

TOO_LARGE_HINT = "Use a smaller model"
# Protocol Buffers' limit for one message, and so for a served model.onnx.
_MAX_BYTES = 2**31 - 1
_GB = 1e9


def read_graph(path: Path) -> ModelProto:
    """The model in the file `path`, including weights in other files.

    Raises:
        ModelError: a file is missing, truncated or a git-LFS pointer, or the model has more than 2 GB.
    """
    model = _parse(path)
    outside = [
        (tensor, ExternalData.of(path, tensor))
        for tensor in all_tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
    ]
    size = path.stat().st_size + sum(data.length for _tensor, data in outside)
    if size > _MAX_BYTES:
        raise ModelError(
            f"{path} has {size / _GB:.1f} GB of weights, more than the 2 GB that one ONNX file can hold",
            hint=TOO_LARGE_HINT,
        )
    for tensor, data in outside:
        data.read_into(tensor)
    return model


def inputs_of(model: ModelProto) -> dict[str, ValueInfoProto]:
    """The graph's inputs by name, in order, without the initialisers that old exports list among them."""
    constants = {constant.name for constant in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constants}


def describe_graph(model: ModelProto) -> str:
    """Inputs and outputs with types and shapes, such as `x float [N, 3] -> y float [N, 2]`."""
    inputs, outputs = (
        ", ".join(_describe(value) for value in values) for values in (inputs_of(model).values(), model.graph.output)
    )
    return f"{inputs or 'no input'} -> {outputs or 'no output'}"


def describe_graph_file(path: Path) -> str:
    """The same for the file `path`, or "not readable"."""
    try:
        return describe_graph(_parse(path))
    except ModelError:
        return "not readable"


def _describe(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = [str(size.dim_value) if size.HasField("dim_value") else size.dim_param or "?" for size in tensor.shape.dim]
    return f"{value.name} {TensorProto.DataType.Name(tensor.elem_type).lower()} [{', '.join(sizes)}]"


def _parse(path: Path) -> ModelProto:
    try:
        require_no_lfs_pointer(path)
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path} is not a readable ONNX graph: {error}", hint=COPY_AGAIN_HINT) from error
    if not model.graph.node:
        raise ModelError(f"{path} is not a readable ONNX graph: it has no operators", hint=COPY_AGAIN_HINT)
    return model
