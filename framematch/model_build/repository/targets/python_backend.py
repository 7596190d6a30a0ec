"""Runs one ONNX graph inside Triton's python backend. `framematch model build` copies this file as `1/model.py`.

It runs in Triton's own Python environment, which has numpy and onnxruntime only: nothing of framematch may be imported.
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
    """One session for each instance, and one run for each batch that Triton forms."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph beside this file."""
        folder = Path(args["model_repository"]) / args["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads(json.loads(args["model_config"]), len(os.sched_getaffinity(0)))
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from Triton itself and from everyone else between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [value.name for value in self._session.get_inputs()]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request, in order. A request that fails gets an error; the others get their result."""
        try:
            return self._run(requests)
        except Exception as error:  # noqa: BLE001  # whatever ONNX Runtime raises belongs to the requests, not to the server
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
    """As the parameter `threads` says, within the cores there are; 0 is this instance's share of them."""
    asked = int(config.get("parameters", {}).get("threads", {}).get("string_value", "0"))
    instances = sum(group["count"] for group in config["instance_group"])
    return min(asked, cores) if asked else max(cores // instances, 1)


def _joined(name: str, requests: Sequence[Any]) -> Any:
    """The requests' rows one after the other; a view of Triton's own memory when there is one request."""
    parts = [triton.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
