"""A client for one model that Triton serves: waits for it, reads its manifest and runs it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import structlog
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from framematch.core.arrays import Embeddings
from framematch.core.errors import EmbeddingError, ModelError, ModelMismatchError, TritonUnavailableError
from framematch.vision.manifest import ModelManifest
from framematch.vision.served_models import manifest_in
from framematch.vision.shared_memory import SharedSlots, inline_tensor, remove_abandoned
from framematch.vision.triton_client import (
    BUILD_HINT,
    CONTROL_TIMEOUT_S,
    is_not_found,
    new_client,
    not_ready,
    parameters_of,
    translated,
    until_available,
)
from framematch.vision.triton_statistics import ModelStatistics, read_statistics

# Part of Triton's message for a model that it knows: still being loaded, unloaded, or it could not be loaded.
_NO_VERSION = "has no available versions"

_NO_MODEL_HINT = f"{BUILD_HINT}, or build the index again with a model that is served"

log = structlog.get_logger()


class TensorShape(NamedTuple):
    """What an output has to be."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike


class TritonModel:
    """One model behind one gRPC channel. `infer` calls may run concurrently."""

    def __init__(
        self, client: Any, url: str, name: str, config: tuple[ModelManifest, frozenset[str]], request_timeout_s: float
    ) -> None:
        self._client = client
        self._url = url
        self._name = name
        self.manifest, self.input_names = config
        self._request_timeout_s = request_timeout_s
        self._check_first = False
        self._shared: SharedSlots | None = None

    @classmethod
    async def connect(
        cls, url: str, name: str, *, timeout_s: float, request_timeout_s: float, key: str | None = None
    ) -> "TritonModel":
        """Wait up to `timeout_s` until the model is ready.

        `key` is that of the restricted calls (`core.triton_key`): only shared memory needs it, and the reason why a
        model is not ready.

        Raises:
            SettingsError: `url` is not host:port.
            TritonUnavailableError: no answer, or the model is not ready, in that time.
            ModelError: Triton has no such model, or framematch did not build it.
        """
        client = new_client(url, key)
        try:
            config = await until_available(partial(_read_config, client, url, name), timeout_s)
        except BaseException:
            await client.close()
            raise
        log.info("triton_connected", url=url, model=name, digest=config[0].digest)
        return cls(client, url, name, config, request_timeout_s)

    async def share_memory(self, *, slots: int, slot_bytes: int) -> None:
        """Send inputs of up to `slot_bytes` in shared memory, for up to `slots` concurrent calls of `infer`.

        When shared memory cannot be used, inputs go through gRPC and the log says why.
        """
        await remove_abandoned(self._client)
        try:
            self._shared = SharedSlots(self._client, slots=slots, slot_bytes=slot_bytes)
        except OSError as error:
            log.warning("shared_memory_refused", error=str(error), hint="Give this host or container a larger /dev/shm")
        else:
            await self._shared.register()

    async def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Embeddings:
        """Run one batch of at most `manifest.max_batch_size` rows; float32 [N, D], owned by the caller.

        The caller checks whether the rows are unit vectors.

        Raises:
            TritonUnavailableError: no answer in time, or a temporary refusal; the call can be retried.
            EmbeddingError: the model failed on the batch, or returned another shape or type.
        """
        rows = len(next(iter(inputs.values())))
        dimension = self.manifest.dimension
        return (await self.run(inputs, {"embedding": TensorShape((rows, dimension), np.float32)}))["embedding"]

    async def run(
        self, inputs: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, "TensorShape"]
    ) -> dict[str, npt.NDArray[Any]]:
        """Run one batch, and read these outputs, owned by the caller.

        Raises: as `infer`.
        """
        with ExitStack() as slots:
            tensors = [slots.enter_context(self._tensor(name, array)) for name, array in inputs.items()]
            try:
                result = await self._client.infer(self._name, tensors, client_timeout=self._request_timeout_s)
            except InferenceServerException as error:
                self._check_first = True
                raise translated(error, self._url, self._name, refused=EmbeddingError) from error
        return {name: self._read(result, name, expected) for name, expected in outputs.items()}

    async def check_after_failure(self) -> None:
        """Call `check` if the last call failed: a restarted Triton may serve another model."""
        if self._check_first:
            await self.check()

    async def check(self) -> None:
        """Check that Triton still serves the model that this process started with.

        Raises:
            TritonUnavailableError: no answer, or the model is not ready.
            ModelMismatchError: another model or preprocessing is served under the same name.
        """
        manifest, self.input_names = await _read_config(self._client, self._url, self._name)
        if not manifest.same_space(self.manifest):
            raise ModelMismatchError(
                f"Triton at {self._url} now serves {manifest.name} ({manifest.digest[:12]}) as {self._name}; "
                f"this process started with {self.manifest.name} ({self.manifest.digest[:12]})",
                hint="A name belongs to one model, so the model repository was changed by hand: build the model again",
            )
        self.manifest = manifest
        if self._check_first and self._shared:
            await self._shared.register()
        self._check_first = False

    async def parameters(self) -> dict[str, str]:
        """All parameters of the model's configuration.

        Raises:
            TritonUnavailableError: no answer, or the model is not ready.
        """
        return parameters_of(await _get_config(self._client, self._url, self._name))

    async def statistics(self) -> ModelStatistics:
        """Triton's counters for the model since it was loaded.

        Raises:
            TritonUnavailableError: no answer, or the model is not ready.
            ModelError: this Triton does not publish statistics.
        """
        try:
            return await read_statistics(self._client, self._name, CONTROL_TIMEOUT_S)
        except InferenceServerException as error:
            raise translated(error, self._url, self._name) from error

    async def close(self) -> None:
        """Close the channel; calls in flight end with an error."""
        if self._shared:
            await self._shared.close()
        await self._client.close()

    def _tensor(self, name: str, array: npt.NDArray[Any]) -> AbstractContextManager[InferInput]:
        return self._shared.tensor(name, array) if self._shared else nullcontext(inline_tensor(name, array))

    def _read(self, result: Any, name: str, expected: "TensorShape") -> npt.NDArray[Any]:
        try:
            array = result.as_numpy(name)
        except ValueError:  # the answer has fewer bytes than its shape needs
            array = np.empty((0, 0), expected.dtype)
        if array is None or array.shape != expected.shape or array.dtype != expected.dtype:
            self._check_first = True
            found = "none" if array is None else f"{array.dtype} {list(array.shape)}"
            wanted = f"{np.dtype(expected.dtype)} {list(expected.shape)}"
            raise EmbeddingError(
                f"{self._name} returned a wrong {name} tensor: {found}, expected {wanted}",
                hint="An older Triton whose Python has numpy 2 returns empty tensors: install numpy<2 there",
            )
        return np.array(array)


async def _read_config(client: Any, url: str, name: str) -> tuple[ModelManifest, frozenset[str]]:
    """The manifest and the input names of a model that is ready."""
    config = await _get_config(client, url, name)
    return manifest_in(parameters_of(config), f"{name} at {url}"), frozenset(item.name for item in config.input)


async def _get_config(client: Any, url: str, name: str) -> Any:
    try:
        return (await client.get_model_config(name, client_timeout=CONTROL_TIMEOUT_S)).config
    except InferenceServerException as error:
        if is_not_found(error):
            raise await _not_served(client, url, name, error) from error
        raise translated(error, url, name) from error


async def _not_served(
    client: Any, url: str, name: str, error: InferenceServerException
) -> TritonUnavailableError | ModelError:
    """The error for a model without a ready version, with the reason where Triton tells it: that may need the key."""
    try:
        index = await client.get_model_repository_index(client_timeout=CONTROL_TIMEOUT_S)
    except InferenceServerException:
        if _NO_VERSION not in error.message():
            return ModelError(f"Triton at {url} has no model {name}, or never loaded it", hint=_NO_MODEL_HINT)
        return TritonUnavailableError(
            f"Triton at {url} has {name}, but it is not ready", hint="See Triton's log for the reason"
        )
    found = next((entry for entry in index.models if entry.name == name), None)
    if found is None:
        return ModelError(f"Triton at {url} has no model {name} in its repository", hint=_NO_MODEL_HINT)
    return not_ready(found, url)
