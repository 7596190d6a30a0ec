"""CPU time of each process for a picture: unlike a rate it hardly depends on what else a machine does."""

import os
import statistics
from collections.abc import Mapping

from benchmarks.harness import Figure, Side
from benchmarks.processes import group_cpu_s

_MS_PER_S = 1000
_CLIENT = "client"  # this process


class CpuMeter:
    """Measures sides that match so many pictures in a call."""

    def __init__(self, pictures: int) -> None:
        self._pictures = pictures
        self._used_ms: dict[str, list[float]] = {}

    def metered(self, side_name: str, side: Side, groups: Mapping[str, int]) -> Side:
        """`side`, whose CPU time is noted for each call; `groups` are the process groups that work for it, by name."""

        def measured() -> float:
            before = _cpu_s(groups)
            rate = side()
            for name, used_s in _cpu_s(groups).items():
                used_ms = _MS_PER_S * (used_s - before[name]) / self._pictures
                self._used_ms.setdefault(f"cpu.{side_name}.{name}", []).append(used_ms)
            return rate

        return measured

    def figures(self) -> dict[str, Figure]:
        """`cpu.SIDE.PROCESS`, in ms of CPU time a picture, and `cpu.SIDE.all`, the sum of their medians."""
        found = {name: Figure.of(values, "ms a picture") for name, values in self._used_ms.items()}
        for side in dict.fromkeys(name.rsplit(".", 1)[0] for name in found):
            total = sum(statistics.median(v) for name, v in self._used_ms.items() if name.startswith(f"{side}."))
            found[f"{side}.all"] = Figure(total, total, total, "ms a picture")
        return found


def _cpu_s(groups: Mapping[str, int]) -> dict[str, float]:
    own = os.times()
    return {_CLIENT: own.user + own.system} | {name: group_cpu_s(group) for name, group in groups.items()}
