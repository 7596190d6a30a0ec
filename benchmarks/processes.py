"""Runs framematch commands, and reads the CPU time and memory of a process and its descendants from /proc."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from demo.services import Service
from framematch.core.errors import FramematchError
from stack.process import Command, ServerProcess
from stack.server import ReservedPort

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PPID, _UTIME = 1, 11  # fields of /proc/PID/stat after the name
_KB_PER_MB = 1e6 / 1024


@contextmanager
def running_framematch(*arguments: str, environment: Mapping[str, str], log_file: Path) -> Iterator[Service]:
    """`framematch ARGUMENTS` while the block runs, with an HTTP endpoint on a free port."""
    port = ReservedPort()
    command = Command(
        (sys.executable, "-m", "framematch", *arguments), {**environment, "FRAMEMATCH_HTTP__PORT": str(port.number)}
    )
    process = ServerProcess(command, log_file)
    try:
        yield Service(process, arguments[0], f"http://{port.address}")
    finally:
        process.stop()


class ProcessTimes(NamedTuple):
    """From /proc/PID/stat: `cpu_s` is user and system time, including children that were waited for."""

    parent: int
    cpu_s: float


def parse_stat(text: str) -> ProcessTimes:
    """Read the text of /proc/PID/stat; the process name in it may contain blanks and brackets."""
    fields = text.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[_UTIME : _UTIME + 4])  # utime, stime, cutime, cstime
    return ProcessTimes(int(fields[_PPID]), ticks / _TICKS_PER_S)


def parse_pss_mb(text: str) -> float:
    """Proportional set size in MB (1e6 bytes) from the text of /proc/PID/smaps_rollup.

    A page shared by several processes counts in equal parts for each, so sums over processes are right.
    """
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) / _KB_PER_MB
    raise ValueError("no Pss in smaps_rollup")


def descendants(root: int, parents: Mapping[int, int]) -> list[int]:
    """`root` and all its descendants; `parents` maps each process to its parent."""
    found = [root]
    for member in found:  # grows while it is iterated
        found += sorted(child for child, parent in parents.items() if parent == member)
    return found


def tree_cpu_s(root: int) -> float:
    """CPU seconds that the process `root` and its descendants have used so far, including ended children."""
    times = _all_times()
    return sum(times[pid].cpu_s for pid in _tree(root, times))


def tree_pss_mb(root: int) -> float:
    """Memory of the process `root` and its descendants in MB (1e6 bytes)."""
    texts = [_read(Path(f"/proc/{pid}/smaps_rollup")) for pid in _tree(root, _all_times())]
    return sum(parse_pss_mb(text) for text in texts if text)


def _tree(root: int, times: Mapping[int, ProcessTimes]) -> list[int]:
    if root not in times:
        raise FramematchError(f"process {root} has ended")
    return descendants(root, {pid: process.parent for pid, process in times.items()})


def _all_times() -> dict[int, ProcessTimes]:
    folders = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {int(folder.name): parse_stat(text) for folder in folders if (text := _read(folder / "stat"))}


def _read(path: Path) -> str:
    """Empty when the process is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
