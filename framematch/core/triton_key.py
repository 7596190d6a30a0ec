"""The key of Triton's restricted calls: without it a client runs models, but neither loads them nor maps memory.

A Triton that loads models on request runs whatever code lies in its repository, and a client may send a model's files
with the request. Shared memory, trace and log settings reach into Triton's host.
"""

from typing import Any

RESTRICTED = ("model-repository", "shared-memory", "trace", "logging")
"""Triton's names of the groups of calls that need the key, over gRPC and HTTP."""
KEY_NAME = "framematch-key"
"""The HTTP header; over gRPC Triton puts a prefix before it."""
_GRPC_HEADER = f"triton-grpc-protocol-{KEY_NAME}"
_REFUSAL = "This protocol is restricted"


class KeyHeader:
    """A plugin of Triton's gRPC clients (`register_plugin`) that sends the key with each call."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: Any) -> None:
        """Add the header to a call."""
        request.headers[_GRPC_HEADER] = self._key


def restriction_arguments(key: str) -> tuple[str, ...]:
    """The arguments of `tritonserver` that restrict the groups to clients with `key`."""
    groups = ",".join(RESTRICTED)
    return (
        f"--grpc-restricted-protocol={groups}:{KEY_NAME}={key}",
        f"--http-restricted-api={groups}:{KEY_NAME}={key}",
    )


def key_was_refused(message: str) -> bool:
    """Whether Triton's message says that a call had no key, or another one."""
    return message.startswith(_REFUSAL)
