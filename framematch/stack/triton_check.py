"""Checks that a Triton not only answers, but runs its models."""

from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from framematch.core.errors import TritonUnavailableError
from framematch.core.triton_key import KeyHeader
from framematch.stack.server import listens
from framematch.stack.triton import ping

_CONTROL_TIMEOUT_S = 2.0
_RUN_TIMEOUT_S = 10.0
_DEAD_MODEL = "Stub process"  # of the python backend


def check(url: str, key: str | None) -> None:
    """Check that every model of the repository can be run: `ping` is answered even when a model's process has died.

    `key` is that of the restricted calls.

    Raises:
        TritonUnavailableError: Triton does not answer, or a model cannot be run.
    """
    if not listens(url):
        raise TritonUnavailableError(f"nothing listens at {url}", hint="See its log")
    with tritonclient.grpc.InferenceServerClient(url) as client:
        if key is not None:
            client.register_plugin(KeyHeader(key))
        try:
            for model in client.get_model_repository_index(client_timeout=_CONTROL_TIMEOUT_S).models:
                _check_model(client, model)
        except InferenceServerException as error:
            raise TritonUnavailableError(f"Triton does not answer at {url}: {error}", hint="See its log") from None
    ping(url)


def _check_model(client: Any, model: Any) -> None:
    if model.state not in {"READY", ""}:  # "": it was never loaded
        raise TritonUnavailableError(f"{model.name} is not ready: {model.reason or model.state}", hint="See its log")
    if model.state == "":
        return
    config = client.get_model_config(model.name, client_timeout=_CONTROL_TIMEOUT_S).config
    try:
        client.infer(model.name, [_zeros(item, config) for item in config.input], client_timeout=_RUN_TIMEOUT_S)
    except InferenceServerException as error:
        # A model may refuse zeros; then its process has answered.
        if _DEAD_MODEL in error.message():
            raise TritonUnavailableError(f"the process of {model.name} has died", hint="See its log") from None


def _zeros(item: Any, config: Any) -> Any:
    """One row of zeros for an input of the model; free dimensions are 1."""
    shape = [abs(size) for size in item.dims]
    if config.max_batch_size > 0:
        shape.insert(0, 1)
    kind = model_config_pb2.DataType.Name(item.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
    values = np.zeros(shape, triton_to_np_dtype(kind))
    return tritonclient.grpc.InferInput(item.name, shape, kind).set_data_from_numpy(values)
