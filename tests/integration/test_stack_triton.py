"""The local Triton: models are loaded at its start and later, and a kill leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

from framematch.core.errors import TritonUnavailableError
from framematch.core.triton_key import KeyHeader
from framematch.stack import triton_check
from framematch.stack.process import group_members
from framematch.stack.triton import TritonServer, ping
from tests.integration.echo_model import write_echo_model
from tests.support import wait_until

pytestmark = pytest.mark.integration

StartTriton = Callable[[Path], TritonServer]

CONFIG = """
backend: "python"
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [2] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [2] }]
dynamic_batching { max_queue_delay_microseconds: 1000 }
instance_group [{ kind: KIND_CPU count: 1 }]
"""
DOUBLE = """
import numpy
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", numpy.multiply(x, 2))]) for x in inputs]
"""


def add_model(repository: Path, code: str = DOUBLE) -> Path:
    """A python model named `double` in the repository."""
    version = repository / "double" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(code)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    return repository


def infer(url: str) -> list[list[float]]:
    """The result of `double` for [[1, 2]]."""
    with tritonclient.grpc.InferenceServerClient(url) as client:
        given = tritonclient.grpc.InferInput("x", [1, 2], "FP32")
        given.set_data_from_numpy(np.array([[1, 2]], np.float32))
        answer: list[list[float]] = client.infer("double", [given]).as_numpy("y").tolist()
        return answer


def test_a_model_in_the_repository_answers(start_triton: StartTriton, tmp_path: Path) -> None:
    triton = start_triton(add_model(tmp_path))
    assert infer(triton.url) == [[2, 4]]


def test_a_model_added_later_is_loaded_on_request(start_triton: StartTriton, tmp_path: Path) -> None:
    triton = start_triton(tmp_path)
    add_model(tmp_path)
    with tritonclient.grpc.InferenceServerClient(triton.url) as client:
        client.register_plugin(KeyHeader(triton.repository_key))
        client.load_model("double")
    assert infer(triton.url) == [[2, 4]]


def test_the_same_repository_gives_the_running_server(start_triton: StartTriton, tmp_path: Path) -> None:
    assert start_triton(tmp_path) is start_triton(tmp_path)


def test_a_killed_triton_leaves_no_process_and_answers_again_after_a_restart(tmp_path: Path) -> None:
    triton = TritonServer(tmp_path / "triton", add_model(tmp_path / "models"))
    triton.start()
    try:
        group = triton.pid
        wait_until(lambda: len(group_members(group)) > 1, message="the model has a process of its own")
        triton.kill()
        assert group_members(group) == []
        with pytest.raises(TritonUnavailableError):
            ping(triton.url)
        triton.restart()
        assert infer(triton.url) == [[2, 4]]
    finally:
        triton.stop()


def test_a_model_that_cannot_be_loaded_is_reported_and_the_others_are_served(tmp_path: Path) -> None:
    add_model(tmp_path / "models")
    broken = write_echo_model(tmp_path / "models")
    broken.write_text("import no_such_module")
    triton = TritonServer(tmp_path / "triton", tmp_path / "models")
    triton.start()
    try:
        assert infer(triton.url) == [[2, 4]]
        with pytest.raises(TritonUnavailableError, match=r"echo is not ready: .*no_such_module"):
            triton_check.check(triton.url, triton.repository_key)
    finally:
        triton.stop()
