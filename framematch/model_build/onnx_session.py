"""Runs a served graph in this process with ONNX Runtime, for calibration, tuning and comparison."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import ModelError


class OnnxSession:
    """One graph on the CPU. Threads may share one."""

    def __init__(self, graph: bytes, *, threads: int | None = None) -> None:
        """Load the serialised `graph`; `threads` None means one thread for each physical core.

        Raises:
            ModelError: ONNX Runtime cannot run it.
        """
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        if threads is not None:
            options.intra_op_num_threads = threads
        # Spinning threads would take CPU time from whatever else is measured.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise ModelError(
                f"ONNX Runtime cannot run the graph: {first_line(error)}",
                hint="Use an export that ONNX Runtime runs by itself, without custom operators",
            ) from error

    def embed(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Embeddings:
        """Arrays with N rows each -> float32 [N, D].

        Raises:
            ModelError: the graph refuses the inputs.
        """
        try:
            embedding: Embeddings = self._session.run(["embedding"], dict(inputs))[0]
        except ORT_ERRORS as error:
            raise ModelError(
                f"the graph does not run: {first_line(error)}",
                hint="Check that the graphs, the tokenizer and the preprocessor are of one model",
            ) from error
        return embedding


def embed_pictures(session: OnnxSession, pictures: Pixels, batch_size: int = 8) -> Embeddings:
    """Run an image tower on pictures uint8 [N, H, W, 3], N at least 1, in batches -> float32 [N, D].

    Raises:
        ModelError: the graph refuses the pictures.
    """
    starts = range(0, len(pictures), batch_size)
    return np.concatenate([session.embed({"pixels": pictures[start : start + batch_size]}) for start in starts])


def _ort_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions have no common base class but Exception; all are in one module."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    found = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*found, RuntimeError, ValueError)


ORT_ERRORS = _ort_errors()
"""All exceptions that ONNX Runtime raises."""


def first_line(error: Exception) -> str:
    """The first line of `error`'s message, or its type when there is no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
