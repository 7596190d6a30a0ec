"""Programs that use a spool and die, or run out of disk: `python -m tests.unit.edge.outbox.spool_program NAME FILE`."""

import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from edge.outbox.spool import Spool
from edge.outbox.spool_file import SpooledFrame, SpoolError
from framematch.core.frames import Frame

JPEG_BYTES = 20_000


def new_spool(path: Path, *, max_bytes: int = 1_000_000_000) -> Spool:
    return Spool(path, max_bytes=max_bytes, max_age_s=3_600)


def spooled(number: int, size: int = JPEG_BYTES) -> SpooledFrame:
    frame = Frame("till-1", 1_700_000_000_000_000 + number, number, ((1, 2, 3, 4),), None, 5, "rtcp")
    return SpooledFrame(number, frame, number.to_bytes(4, "big") * (size // 4))


def append_until_killed(path: Path) -> None:
    """Print the number of each frame once it is appended."""
    spool = new_spool(path)
    for number in range(1, 1_000_000):
        spool.append([spooled(number)])
        print(number, flush=True)  # noqa: T201  # the test reads it


def replay_until_killed(path: Path) -> None:
    """Replay 500 frames, each four deleted while the next are in flight; print how many are deleted."""
    spool = new_spool(path)
    spool.append([spooled(number) for number in range(1, 501)])
    in_flight = [row.number for row in spool.lease(4, 1_000_000)]
    for deleted in range(4, 500, 4):
        in_flight = [row.number for row in spool.lease(4, 1_000_000, acknowledged=in_flight)]
        print(deleted, flush=True)  # noqa: T201  # the test reads it
    signal.pause()


def run_into_a_file_limit(path: Path) -> None:
    """Append beyond RLIMIT_FSIZE, replay, and append again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    spool = new_spool(path)
    fill_replay_and_fill(spool)


def fill_replay_and_fill(spool: Spool) -> None:
    """Go on although the disk is full; prints `appended failed replayed appended-again`."""
    appended = failed = again = 0
    for number in range(1, 201):
        try:
            spool.append([spooled(number)])
            appended += 1
        except SpoolError as error:
            failed += error.reason == "spool_failed"
    replayed: list[int] = []
    while rows := spool.lease(8, 1_000_000):
        replayed += [row.number for row in rows]
        spool.ack([row.number for row in rows])
    assert replayed == sorted(set(replayed))
    spool.remove_if_empty()
    assert not spool.path.exists()
    for number in range(201, 211):
        spool.append([spooled(number)])
        again += 1
    print(appended, failed, len(replayed), again, flush=True)  # noqa: T201  # the test reads it


PROGRAMS: dict[str, Callable[[Path], None]] = {
    "append_until_killed": append_until_killed,
    "replay_until_killed": replay_until_killed,
    "run_into_a_file_limit": run_into_a_file_limit,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
