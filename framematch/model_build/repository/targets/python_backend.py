"""Runs one ONNX graph in Triton's python backend. `framematch model build` copies this file as `1/model.py`.

Triton's Python environment has only numpy and onnxruntime, so this module must not import framematch.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

_OUTPUT = "embedding"


class TritonPythonModel:
    """One session per instance, and one run per batch that Triton forms."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph beside this file."""
        folder = Path(args["model_repository"]) / args["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads(json.loads(args["model_config"]), len(os.sched_getaffinity(0)))
        options.inter_op_num_threads = 1
        # Spinning threads would take CPU time from Triton and other processes between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [value.name for value in self._session.get_inputs()]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order. A request that fails gets an error; the others get their results."""
        try:
            return self._run(requests)
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors are about the requests, and have no common base
            if len(requests) == 1:
                return [triton.InferenceResponse([], triton.TritonError(f"{type(error).__name__}: {error}"))]
        return [self.execute([request])[0] for request in requests]

    def _run(self, requests: Sequence[Any]) -> list[Any]:
        feeds = {name: _joined(name, requests) for name in self._inputs}
        embeddings = self._session.run([_OUTPUT], feeds)[0]
        responses, first = [], 0
        for request in requests:
            rows = triton.get_input_tensor_by_name(request, self._inputs[0]).as_numpy().shape[0]
            responses.append(triton.InferenceResponse([triton.Tensor(_OUTPUT, embeddings[first : first + rows])]))
            first += rows
        return responses


def _threads(config: dict[str, Any], cores: int) -> int:
    """The parameter `threads`, limited to the number of cores; 0 means this instance's share of the cores."""
    threads = int(config.get("parameters", {}).get("threads", {}).get("string_value", "0"))
    instances = sum(group["count"] for group in config["instance_group"])
    return min(threads, cores) if threads else max(cores // instances, 1)


def _joined(name: str, requests: Sequence[Any]) -> Any:
    """The rows of all requests, concatenated; for a single request a view of Triton's memory."""
    parts = [triton.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
