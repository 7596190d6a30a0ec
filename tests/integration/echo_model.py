"""A model for Triton that returns its input: the least that it can serve."""

from pathlib import Path

MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.get_input_tensor_by_name(r, "x")]) for r in requests]
"""
CONFIG = """
backend: "python"
input [{ name: "x" data_type: TYPE_FP32 dims: [1] }]
output [{ name: "x" data_type: TYPE_FP32 dims: [1] }]
instance_group [{ kind: KIND_CPU }]
"""


def write_echo_model(repository: Path) -> Path:
    """Write the model `echo` into a model repository; returns the file with its code."""
    code = repository / "echo" / "1" / "model.py"
    code.parent.mkdir(parents=True)
    code.write_text(MODEL)
    (repository / "echo" / "config.pbtxt").write_text(CONFIG)
    return code
