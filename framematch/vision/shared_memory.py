"""Memory shared with a Triton on the same host, so that pictures do not travel through gRPC."""

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

from framematch.core.triton_key import key_was_refused

_FOLDER = Path("/dev/shm")  # noqa: S108  # the kernel's folder, in which Triton finds a region by its key
_PREFIX = "framematch-inputs-"
_TIMEOUT_S = 2.0
# Triton uses a region for some milliseconds after it has answered the last request.
_RELEASE_ATTEMPTS = 20
_RELEASE_INTERVAL_S = 0.05

log = structlog.get_logger()


class SharedSlots:
    """One region, registered with Triton once, with a slot for each request in flight.

    Inputs that do not fit go through gRPC, and so does everything while Triton cannot map the region. The region is a
    file that `close` removes. The file of a killed process stays, mapped by Triton, until `remove_abandoned`.
    """

    def __init__(self, client: Any, *, slots: int, slot_bytes: int) -> None:
        """Create the region without registering it.

        Raises:
            OSError: there is no shared memory, or not enough.
        """
        self._client = client
        self._slot_bytes = slot_bytes
        self._free = list(range(slots))
        self._registered = False
        self._descriptor, self._path = _new_file()
        try:
            # Reserve the memory now: writing to a page that cannot be allocated would kill the process.
            os.posix_fallocate(self._descriptor, 0, slots * slot_bytes)
            self._memory = mmap.mmap(self._descriptor, slots * slot_bytes)
        except BaseException:
            self._remove_file()
            raise

    async def register(self) -> None:
        """Make Triton map the region; call it again after a restart of Triton. If Triton cannot, the log says why."""
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
                    hint="Set TRITON_REPOSITORY_KEY to Triton's key"
                    if key_was_refused(error.message())
                    else "Triton must see this process's /dev/shm: the same host, and the same IPC namespace",
                )
        else:
            self._registered = True
            log.info("shared_memory_registered", region=self._path.name, size_bytes=len(self._memory))

    @contextmanager
    def tensor(self, name: str, array: npt.NDArray[Any]) -> Iterator[InferInput]:
        """The input `name` for one request, which must end within the `with` block; `array` is copied."""
        if not self._registered or not self._free or array.nbytes > self._slot_bytes:
            yield inline_tensor(name, array)
            return
        slot = self._free.pop()
        # After a cancelled request Triton may still read the slot; the answer to that is discarded.
        try:
            offset = slot * self._slot_bytes
            np.ndarray(array.shape, array.dtype, buffer=self._memory, offset=offset)[...] = array
            tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            yield tensor.set_shared_memory(self._path.name, array.nbytes, offset)
        finally:
            self._free.append(slot)

    async def close(self) -> None:
        """Make Triton release the region, and remove its file."""
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


async def remove_abandoned(client: Any) -> None:
    """Remove the regions of killed processes, and make this Triton release them."""
    for region in _remove_abandoned_files():
        await _release(client, region)


def _remove_abandoned_files() -> list[str]:
    """Returns the names of the removed files."""
    return [path.name for path in _FOLDER.glob(f"{_PREFIX}*") if _remove_unlocked(path)]


def _remove_unlocked(path: Path) -> bool:
    """Remove a file whose owner has ended: a running owner keeps its file locked. Returns whether it was removed."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # removed meanwhile, or another user's
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
    """Make Triton unmap the region, if it answers. Triton refuses while it still uses the region."""
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
        os.close(descriptor)  # another process removed it as abandoned, before it was locked
