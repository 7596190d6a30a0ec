"""Runs framematch services, and reads the CPU time and memory of process groups from /proc."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from demo.services import Service
from framematch.core.errors import FramematchError
from framematch.core.units import BYTES_PER_MB
from framematch.stack.process import Command, ServerProcess, group_members
from framematch.stack.server import ReservedPort

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BYTES_PER_KIB = 1024


@contextmanager
def running_framematch(
    *arguments: str, environment: Mapping[str, str], log_file: Path, may_be_killed: bool = False
) -> Iterator[Service]:
    """`framematch ARGUMENTS` while the block runs, with an HTTP endpoint on a free port.

    Raises:
        FramematchError: its exit code was not 0 at the end, unless it `may_be_killed`.
    """
    port = ReservedPort()
    environment = {**environment, "FRAMEMATCH_HTTP__PORT": str(port.number)}
    process = ServerProcess(Command((sys.executable, "-m", "framematch", *arguments), environment), log_file)
    service = Service(process, arguments[0], f"http://{port.address}")
    try:
        yield service
        if not may_be_killed:
            service.stop()
    finally:
        process.stop()


def check(process: ServerProcess, name: str) -> None:
    """Raise FramematchError, with the end of its log, when a process has failed."""
    if process.exit_code:
        log = process.log_file.read_text(encoding="utf-8", errors="replace")
        raise FramematchError(f"{name} ended with exit code {process.exit_code}. The end of its log:\n{log[-1000:]}")


def group_cpu_s(group: int) -> float:
    """CPU seconds that the process group `group` has used so far, including children that have ended."""
    return sum(map(parse_cpu_s, _read_all(group, "stat")))


def group_pss_mb(group: int) -> float:
    """Memory of the process group `group` in MB (1e6 bytes)."""
    return sum(map(parse_pss_mb, _read_all(group, "smaps_rollup")))


def group_peak_rss_mb(group: int) -> float:
    """The most memory that each process of the group had in its life, in MB, summed; shared libraries count whole."""
    return sum(map(parse_peak_rss_mb, _read_all(group, "status")))


def machine_cpu_s() -> float:
    """CPU seconds that all programs on this machine have used since its start, and its kernel."""
    fields = list(map(int, Path("/proc/stat").read_text(encoding="utf-8").split(maxsplit=8)[1:8]))
    idle = fields[3] + fields[4]  # and waiting for disks
    return (sum(fields) - idle) / _TICKS_PER_S


@dataclass(frozen=True)
class ProcessUse:
    """What one process uses: CPU seconds so far, with those of its children that ended; memory in MB; counts."""

    title: str
    cpu_s: float
    pss_mb: float
    threads: int
    files: int


def group_use(group: int) -> dict[int, ProcessUse]:
    """What each process of the group `group` uses, by its id."""
    found = {}
    for pid in group_members(group):
        folder = Path(f"/proc/{pid}")
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found[pid] = ProcessUse(
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"),
                parse_cpu_s((folder / "stat").read_text(encoding="utf-8", errors="replace")),
                parse_pss_mb((folder / "smaps_rollup").read_text(encoding="utf-8")),
                len(list((folder / "task").iterdir())),
                len(list((folder / "fd").iterdir())),
            )
    return found


def parse_cpu_s(stat: str) -> float:
    """User and system time, with that of children that were waited for, from the text of /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()  # the process name before it may contain blanks and brackets
    return sum(map(int, fields[11:15])) / _TICKS_PER_S  # utime, stime, cutime, cstime


def parse_pss_mb(smaps_rollup: str) -> float:
    """Proportional set size in MB (1e6 bytes) from the text of /proc/PID/smaps_rollup.

    A page shared by several processes counts in equal parts for each, so sums over processes are right.
    """
    pss = smaps_rollup.partition("\nPss:")[2]
    return int(pss.split()[0]) * _BYTES_PER_KIB / BYTES_PER_MB


def parse_peak_rss_mb(status: str) -> float:
    """The highest resident set size in MB (1e6 bytes) from the text of /proc/PID/status."""
    peak = status.partition("\nVmHWM:")[2]
    return int(peak.split()[0]) * _BYTES_PER_KIB / BYTES_PER_MB


def _read_all(group: int, name: str) -> list[str]:
    """The file `name` of each process in a group."""
    texts = []
    for pid in group_members(group):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            texts.append(Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace"))
    if not texts:
        raise FramematchError(f"process group {group} has ended")
    return texts
