"""Reads weights that an ONNX export has in files beside the graph (`vision_model.onnx_data`)."""

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from framematch.core.errors import ModelError
from framematch.vision.model_files import require_no_lfs_pointer

_HINT = "Copy the graph together with its data files, into one folder and under their own names"


@dataclass(frozen=True)
class ExternalData:
    """The bytes of one tensor: `length` bytes at `offset` of the file `path`."""

    path: Path
    offset: int
    length: int

    @classmethod
    def of(cls, graph: Path, tensor: TensorProto) -> "ExternalData":
        """Locate the weights of `tensor`, a tensor of the graph in the file `graph`.

        The file must be in the graph's folder or below it. It may be a symbolic link, as in a hub's cache; `onnx.load`
        refuses those.

        Raises:
            ModelError: the weights are outside of the folder, missing or truncated.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = PurePosixPath(entries.get("location", ""))
        if location.is_absolute() or ".." in location.parts or not location.name:
            raise ModelError(f"{graph} keeps weights outside of its folder, in {str(location)!r}", hint=_HINT)
        path = graph.parent / location
        if not path.is_file():
            raise ModelError(f"{graph} keeps its weights in {path}, which is missing", hint=_HINT)
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries.get("length", _bytes_of(tensor)))
        except ValueError as error:
            raise ModelError(f"{graph} has a wrong location of its weights: {error}", hint=_HINT) from error
        size = path.stat().st_size
        if not 0 <= offset <= offset + length <= size:
            require_no_lfs_pointer(path)
            raise ModelError(
                f"{path} is cut short: it has {size} bytes, {graph.name} needs {offset + length}", hint=_HINT
            )
        return cls(path, offset, length)

    def read_into(self, tensor: TensorProto) -> None:
        """Read the bytes into `tensor`, which then no longer refers to the file.

        Raises:
            ModelError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                tensor.raw_data = file.read(self.length)
        except OSError as error:
            raise ModelError(f"{self.path} is not readable: {error}", hint=_HINT) from error
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def _bytes_of(tensor: TensorProto) -> int:
    kind: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(math.prod(tensor.dims)) * kind.itemsize
