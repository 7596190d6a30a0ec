"""CPU time and memory of a process and all that it has started, from /proc."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framematch.core.errors import FramematchError

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PPID, _FIRST_TIME = 1, 11  # in /proc/PID/stat after the name: proc(5) counts them from 1, and the name is the second
_KB_PER_MB = 1e6 / 1024


@dataclass(frozen=True)
class ProcessTimes:
    """What /proc/PID/stat says: `cpu_s` is user and system time, that of children it has waited for included."""

    parent: int
    cpu_s: float


def parse_stat(text: str) -> ProcessTimes:
    """Read the text of /proc/PID/stat; the name in it may hold blanks and brackets."""
    fields = text.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[_FIRST_TIME : _FIRST_TIME + 4])  # utime, stime, cutime, cstime
    return ProcessTimes(int(fields[_PPID]), ticks / _TICKS_PER_S)


def parse_pss_mb(text: str) -> float:
    """Proportional set size in 1e6 bytes, from the text of /proc/PID/smaps_rollup.

    A page that several processes share counts in equal parts for each, so that the sum over a tree is true.

    Raises:
        ValueError: there is no such line.
    """
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) / _KB_PER_MB
    raise ValueError("no Pss in smaps_rollup")


def family(root: int, parents: Mapping[int, int]) -> list[int]:
    """`root` and all its descendants; `parents` has the parent of every process."""
    found = [root]
    for member in found:  # it grows meanwhile
        found += sorted(child for child, parent in parents.items() if parent == member)
    return found


def tree_cpu_s(root: int) -> float:
    """CPU seconds that the process `root` and all that it started have used so far; what has ended counts too.

    A child counts by itself until its parent has waited for it, and from then on in its parent's figure.

    Raises:
        FramematchError: it has ended.
    """
    times = _all_times()
    return sum(times[pid].cpu_s for pid in _tree(root, times))


def tree_pss_mb(root: int) -> float:
    """Memory of the process `root` and all that it started, in 1e6 bytes; shared pages count once.

    Raises:
        FramematchError: it has ended.
    """
    return sum(_pss_mb(pid) for pid in _tree(root, _all_times()))


def _tree(root: int, times: Mapping[int, ProcessTimes]) -> list[int]:
    if root not in times:
        raise FramematchError(f"process {root} has ended")
    return family(root, {pid: process.parent for pid, process in times.items()})


def _all_times() -> dict[int, ProcessTimes]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (text := _read(entry / "stat")):
            found[int(entry.name)] = parse_stat(text)
    return found


def _pss_mb(pid: int) -> float:
    text = _read(Path("/proc") / str(pid) / "smaps_rollup")
    return parse_pss_mb(text) if text else 0.0


def _read(path: Path) -> str:
    """Empty when the process is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
