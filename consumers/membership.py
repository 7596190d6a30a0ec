"""Processes of one host tell each other which member of the group they are, so that one that was killed is noticed.

Each keeps a file with its member id, and a lock on it. The kernel ends the lock with the process, however that ends. So
whoever can lock the file knows that its process is dead, also across containers that share the folder, where process
ids say nothing. It tells Kafka, which would otherwise wait for the session to end.
"""

import asyncio
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.dead_members import remove_members
from framematch.core.private_files import make_private_folder
from framematch.core.settings import KafkaSettings

log = structlog.get_logger()

_WATCH_S = 0.5
_REQUEST_S = 10.0  # more than the session that it is to shorten would help nobody
_MAX_ID_BYTES = 4_096
# A folder on a network may be shared with hosts whose locks it does not show. Their files have another boot's name.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def members_folder(state_dir: Path, kafka: KafkaSettings, group_id: str) -> Path:
    """The folder for the members of a group of these brokers."""
    identity = f"{kafka.bootstrap_servers}\0{group_id}".encode()
    return state_dir / "group-members" / hashlib.sha256(identity).hexdigest()[:16]


class MemberFile:
    """The file of this process, which is locked. Without one, as on a disk that is full, it does nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def write(self, member_id: str) -> None:
        """This process is that member of the group now."""
        if self._descriptor is None:
            return
        line = f"{member_id}\n".encode()
        try:
            os.pwrite(self._descriptor, line, 0)  # at once, so that there is an id at any moment
            os.ftruncate(self._descriptor, len(line))
        except OSError as error:
            _report_unwritable(error)


@contextmanager
def member_file(folder: Path) -> Iterator[MemberFile]:
    """A new file in `folder`, removed after the block: leave the group before."""
    try:
        descriptor, path = _new_file(folder)
    except OSError as error:
        _report_unwritable(error)
        yield MemberFile(None)
        return
    try:
        yield MemberFile(descriptor)
    finally:
        os.ftruncate(descriptor, 0)  # for one that has opened it already
        path.unlink(missing_ok=True)
        os.close(descriptor)


def take_dead_members(folder: Path) -> list[str]:
    """The member ids of processes of this host that have died; each is returned to one caller only.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [_take_if_dead(path) for path in folder.glob(f"{_boot()}*")]
    return [member_id for member_id in found if member_id]


async def watch_members(folder: Path, kafka: KafkaSettings, group_id: str) -> None:
    """Tell Kafka which members have died, also before this call, until cancelled."""
    while True:
        try:
            if dead := await asyncio.to_thread(take_dead_members, folder):
                async with asyncio.timeout(_REQUEST_S):
                    await remove_members(kafka, group_id, dead)
                log.warning("dead_members_removed", group_id=group_id, members=dead)
        except (KafkaUnavailableError, TimeoutError) as error:
            reason = str(error) or f"no answer within {_REQUEST_S:g} s"
            log.warning("dead_members_not_removed", group_id=group_id, members=dead, reason=reason)
        except OSError as error:
            _report_unwritable(error)
            return
        await asyncio.sleep(_WATCH_S)


def _boot() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _new_file(folder: Path) -> tuple[int, Path]:
    """A new file, locked."""
    make_private_folder(folder)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f"{_boot()}-", dir=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        path = Path(name)
        if path.exists():
            return descriptor, path
        os.close(descriptor)  # another process took it for one of a dead process, before it was locked


def _take_if_dead(path: Path) -> str:
    """Remove the file of a dead process; returns its member id, empty when it runs, or was no member yet."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # removed meanwhile, or another user's
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ""
    else:
        text = os.read(descriptor, _MAX_ID_BYTES).decode("utf-8", errors="replace")
        path.unlink(missing_ok=True)
        return text.partition("\n")[0]
    finally:
        os.close(descriptor)


def _report_unwritable(error: OSError) -> None:
    log.warning(
        "members_unwatched",
        error=f"{error.filename or 'the folder of the members'}: {error.strerror or error}",
        hint="Make FRAMEMATCH_STATE_DIR writable; until then a killed consumer is noticed when its session ends",
    )
