"""Memory that this process shares with a Triton on the same host, so that pictures need not travel through gRPC."""

import asyncio
import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

_FOLDER = Path("/dev/shm")  # noqa: S108  # where the kernel has it, and where Triton looks for a region by its key
_PREFIX = "framematch-inputs-"
_TIMEOUT_S = 2.0
# Triton holds a region for some milliseconds after it has answered the last request that used it.
_RELEASE_ATTEMPTS = 20
_RELEASE_INTERVAL_S = 0.05

log = structlog.get_logger()


class SharedSlots:
    """One region, registered at Triton once, with a slot for each request in flight.

    What does not fit, and everything while Triton cannot map the region, goes through gRPC. The region is a file that
    `close` removes. A killed process leaves it behind, mapped by Triton, until `remove_left_behind`.
    """

    def __init__(self, client: Any, *, slots: int, slot_bytes: int) -> None:
        """Make the region, not registered yet.

        Raises:
            OSError: there is no memory of this kind, or not enough.
        """
        self._client = client
        self._slot_bytes = slot_bytes
        self._free = list(range(slots))
        self._registered = False
        self._descriptor, self._path = _new_file()
        try:
            # Reserved now: a page that is not there when it is written to would end the process.
            os.posix_fallocate(self._descriptor, 0, slots * slot_bytes)
            self._memory = mmap.mmap(self._descriptor, slots * slot_bytes)
        except BaseException:
            self._remove_file()
            raise

    async def register(self) -> None:
        """Have Triton map the region; also after Triton was restarted. When it cannot, the log says why."""
        key = f"/{self._path.name}"
        try:
            await self._client.register_system_shared_memory(
                self._path.name, key, len(self._memory), client_timeout=_TIMEOUT_S
            )
        except InferenceServerException as error:
            self._registered = error.status() == "StatusCode.ALREADY_EXISTS"
            if not self._registered:
                log.warning(
                    "shared_memory_refused",
                    error=error.message(),
                    hint="Triton must see this process's /dev/shm: the same host, and the same IPC namespace",
                )
        else:
            self._registered = True
            log.info("shared_memory_registered", region=self._path.name, size_bytes=len(self._memory))

    @contextmanager
    def tensor(self, name: str, array: npt.NDArray[Any]) -> Iterator[InferInput]:
        """The input `name` for one request, which must end within the block; `array` is copied."""
        if not self._registered or not self._free or array.nbytes > self._slot_bytes:
            yield inline_tensor(name, array)
            return
        slot = self._free.pop()
        # When the request was given up, Triton may still read the slot later; nobody reads its answer.
        try:
            offset = slot * self._slot_bytes
            np.ndarray(array.shape, array.dtype, buffer=self._memory, offset=offset)[...] = array
            tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            yield tensor.set_shared_memory(self._path.name, array.nbytes, offset)
        finally:
            self._free.append(slot)

    async def close(self) -> None:
        """Have Triton release the region, and remove it."""
        self._memory.close()
        self._remove_file()
        if self._registered:
            self._registered = False
            await _release(self._client, self._path.name)

    def _remove_file(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def inline_tensor(name: str, array: npt.NDArray[Any]) -> InferInput:
    """The input `name` with its bytes in the request itself."""
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return tensor.set_data_from_numpy(np.ascontiguousarray(array))


async def remove_left_behind(client: Any) -> None:
    """Remove the regions of processes that were killed, and have this Triton release them."""
    for region in _remove_unlocked_files():
        await _release(client, region)


def _remove_unlocked_files() -> list[str]:
    """The names of those removed."""
    return [path.name for path in _FOLDER.glob(f"{_PREFIX}*") if _remove_unlocked(path)]


def _remove_unlocked(path: Path) -> bool:
    """Remove a file whose owner lives no more: the owner holds the lock for as long as it lives."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # it has just gone, or is another user's
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


async def _release(client: Any, region: str) -> None:
    """Have Triton unmap the region, if it answers: it refuses while it holds the region."""
    for _ in range(_RELEASE_ATTEMPTS):
        try:
            await client.unregister_system_shared_memory(region, client_timeout=_TIMEOUT_S)
        except InferenceServerException as error:
            if error.status() != "StatusCode.INTERNAL":
                return
        else:
            return
        await asyncio.sleep(_RELEASE_INTERVAL_S)


def _new_file() -> tuple[int, Path]:
    """A new file, locked."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=_FOLDER)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        path = Path(name)
        if path.exists():
            return descriptor, path
        os.close(descriptor)  # someone took it for one left behind, before it was locked
