"""Connections to Triton's gRPC endpoint, and what its errors mean."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from framematch.core.errors import ModelError, SettingsError, TritonUnavailableError
from framematch.core.triton_key import KeyHeader
from framematch.vision.load_errors import load_hint

T = TypeVar("T")

BUILD_HINT = "Build it with `framematch model build --from DIR` into the model repository that Triton serves"
CONTROL_TIMEOUT_S = 5.0
"""For calls that do not run the model, such as reading the index or the configuration."""
_UNAVAILABLE_HINT = "Set TRITON_URL to the host:port of Triton's gRPC endpoint (often 8001)"
_CHANNEL_OPTIONS = (
    # A batch of 32 pictures has 4.8 MB, and gRPC's default limit is 4 MB. max_batch_size limits requests instead.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # By default gRPC waits up to two minutes before it reconnects to a restarted Triton.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
_RETRY_INTERVAL_S = 0.2
# gRPC codes of requests that can succeed later. A model that is being reloaded is NOT_FOUND.
_RETRIABLE = frozenset(
    f"StatusCode.{code}"
    for code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED", "NOT_FOUND")
)
_NOT_FOUND = "StatusCode.NOT_FOUND"
# Part of Triton's message (code INTERNAL) when the process of its python backend has died. Triton still reports the
# model as ready and does not restart the process.
_DEAD_BACKEND = "Stub process"


def new_client(url: str, key: str | None = None) -> Any:
    """A client of Triton's gRPC endpoint `url` (host:port); `key` is that of the restricted calls.

    Raises:
        SettingsError: `url` has a scheme.
    """
    if "://" in url:
        raise SettingsError("TRITON_URL has a scheme", hint="Give host:port of the gRPC endpoint alone")
    client = InferenceServerClient(url, channel_args=list(_CHANNEL_OPTIONS))
    if key is not None:
        client.register_plugin(KeyHeader(key))
    return client


@asynccontextmanager
async def open_client(url: str, key: str | None = None) -> AsyncIterator[Any]:
    """`new_client`, closed at the end."""
    client = new_client(url, key)
    try:
        yield client
    finally:
        await client.close()


async def ask_ready(url: str, timeout_s: float) -> None:
    """Ask Triton whether it is ready.

    Raises:
        TritonUnavailableError: it is not, or does not answer within `timeout_s`.
    """
    async with open_client(url) as client:
        try:
            ready = await client.is_server_ready(client_timeout=timeout_s)
        except InferenceServerException as error:
            raise TritonUnavailableError(
                f"Triton at {url} does not answer: {error.message()}", hint=_UNAVAILABLE_HINT, unreachable=True
            ) from error
    if not ready:
        raise TritonUnavailableError(f"Triton at {url} is not ready", hint="Its log says which models it is loading")


async def until_available(read: Callable[[], Awaitable[T]], timeout_s: float) -> T:
    """Call `read` until it does not raise `TritonUnavailableError`, for up to `timeout_s`.

    Raises:
        TritonUnavailableError: the last one, with the time that was waited.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        try:
            return await read()
        except TritonUnavailableError as error:
            if loop.time() + _RETRY_INTERVAL_S >= deadline:
                raise TritonUnavailableError(
                    f"{error.message} (waited {timeout_s:.1f} s)",
                    hint=error.hint or _UNAVAILABLE_HINT,
                    unreachable=error.unreachable,
                ) from error
        await asyncio.sleep(_RETRY_INTERVAL_S)


def is_not_found(error: InferenceServerException) -> bool:
    """Whether Triton answered that it does not serve the model of the call."""
    return bool(error.status() == _NOT_FOUND)


def parameters_of(config: Any) -> dict[str, str]:
    """The parameters of a model's configuration."""
    return {key: value.string_value for key, value in config.parameters.items()}


def not_ready(entry: Any, url: str) -> TritonUnavailableError:
    """The error for a model that is not served; `entry` is its line in the index of Triton's repository."""
    state = " ".join(part for part in (entry.state.lower() or "not loaded", entry.reason) if part)
    return TritonUnavailableError(
        f"Triton at {url} has {entry.name}, but it is not ready: {state.rstrip(';. ')}",
        hint=load_hint(entry.reason) or "",
    )


def translated(
    error: InferenceServerException, url: str, name: str, *, refused: type[ModelError] = ModelError
) -> TritonUnavailableError | ModelError:
    """The error to raise for `error`; `refused` is its class when Triton answered and could not run the model."""
    reason = error.message()
    if _DEAD_BACKEND in reason:
        return TritonUnavailableError(
            f"the process that runs {name} at {url} has died",
            hint="Restart Triton, and see its log: a lack of memory is the usual cause",
        )
    if error.status() in _RETRIABLE:
        return TritonUnavailableError(
            f"Triton at {url} does not answer for {name}: {reason}", hint=_UNAVAILABLE_HINT, unreachable=True
        )
    return refused(f"Triton at {url} could not run {name}: {reason}", hint="See Triton's log for the cause")
