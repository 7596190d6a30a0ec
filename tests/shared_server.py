"""A broker that all processes of a parallel run share: its start and the compilation of its code cost ten seconds."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from framematch.stack.kafka import KafkaServer

_SETUP, _USERS, _BROKER = "setup.lock", "users.lock", "broker.json"


class SharedKafka(msgspec.Struct, frozen=True):
    """What a test may know of the broker; it must not stop it."""

    bootstrap_servers: str
    pid: int
    path: str

    @property
    def folder(self) -> Path:
        """Its files are here."""
        return Path(self.path)


@contextmanager
def shared_kafka(folder: Path) -> Iterator[SharedKafka]:
    """Use the broker of this folder, which the first user starts; it stops it when all others have ended."""
    folder.mkdir(parents=True, exist_ok=True)
    server = None
    with _locked(folder / _USERS, fcntl.LOCK_SH):
        with _locked(folder / _SETUP, fcntl.LOCK_EX):
            if not (folder / _BROKER).exists():
                server = KafkaServer(folder / "kafka")
                server.start()
                broker = SharedKafka(server.bootstrap_servers, server.pid, str(server.folder))
                (folder / _BROKER).write_bytes(msgspec.json.encode(broker))
        try:
            yield msgspec.json.decode((folder / _BROKER).read_bytes(), type=SharedKafka)
        except BaseException:
            if server:
                server.stop()
            raise
    if server:
        with _locked(folder / _USERS, fcntl.LOCK_EX):
            server.stop()


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    file = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(file, kind)
        yield
    finally:
        os.close(file)
