"""Measures how the model uses a CPU best: few instances with many threads, or many instances with few."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from framematch.core.arrays import Pixels
from framematch.core.progress import OnProgress
from framematch.model_build.onnx_session import OnnxSession
from framematch.model_build.repository.build_options import CpuPlan

# Each instance is a process with a copy of the weights.
_MAX_INSTANCES = 8
# Medians that differ by less count as equal, as on a shared machine; then the plan with fewer instances is better.
_EQUAL_SHARE = 0.03
_ROUNDS = 5
_CGROUP_ROOT = Path("/sys/fs/cgroup")


class MeasuredPlan(NamedTuple):
    """A plan and its speed, the median of all rounds."""

    plan: CpuPlan
    images_per_s: float


def available_cores(cgroup_root: Path = _CGROUP_ROOT, own_cgroup: Path = Path("/proc/self/cgroup")) -> int:
    """The number of cores that this process may use: its affinity, limited by a container's CPU quota; at least 1."""
    cores = len(os.sched_getaffinity(0))
    quotas = [_quota_cores(text) for text in _cpu_max_files(cgroup_root, own_cgroup)]
    return max(1, min([cores, *(int(quota) for quota in quotas if quota is not None)]))


def candidate_plans(cores: int) -> list[CpuPlan]:
    """Plans for `cores`, fewest instances first.

    The numbers of instances are powers of two up to 8, and on a small machine also one for each core. Of two plans with
    equal threads per instance, the one with idle cores is left out.
    """
    counts = [count for count in (1, 2, 4, _MAX_INSTANCES) if count <= cores]
    if cores < _MAX_INSTANCES:
        counts.append(cores)
    by_threads = {cores // count: count for count in sorted(counts)}
    return [CpuPlan(instances=count, threads=threads) for threads, count in by_threads.items()]


def measure_cpu_plans(
    graph: bytes,
    batch: Pixels,
    cores: int,
    *,
    seconds: float = 1.0,
    rounds: int = _ROUNDS,
    on_progress: OnProgress = lambda _done, _total: None,
) -> list[MeasuredPlan]:
    """Measure each plan for `cores`; returns the best first, and of equally good ones that with fewest instances.

    The plans alternate for `rounds` rounds, so that a machine that slows down affects all of them. A round takes about
    `seconds` for each plan, and the time to load its sessions. `graph` is an image tower, `pixels` -> `embedding`;
    `batch`, uint8 [N, H, W, 3], is the input of each run. `on_progress` counts measurements.

    Raises:
        ModelError: ONNX Runtime cannot run the graph, or the pictures do not fit.
    """
    plans = candidate_plans(cores)
    rates: dict[CpuPlan, list[float]] = {plan: [] for plan in plans}
    total, done = rounds * len(plans), 0
    for number in range(rounds):
        for plan in plans if number % 2 == 0 else reversed(plans):
            on_progress(done, total)
            rates[plan].append(_images_per_s(graph, batch, plan, seconds))
            done += 1
    on_progress(total, total)
    return _best_first([MeasuredPlan(plan, statistics.median(found)) for plan, found in rates.items()])


def _best_first(measured: list[MeasuredPlan]) -> list[MeasuredPlan]:
    enough = (1 - _EQUAL_SHARE) * max(item.images_per_s for item in measured)

    def rank(item: MeasuredPlan) -> tuple[bool, float]:
        as_good = item.images_per_s >= enough
        return not as_good, item.plan.instances if as_good else -item.images_per_s

    return sorted(measured, key=rank)


def _images_per_s(graph: bytes, batch: Pixels, plan: CpuPlan, seconds: float) -> float:
    """Run all instances in parallel, each with its own session, as Triton does."""
    sessions = [OnnxSession(graph, threads=plan.threads) for _ in range(plan.instances)]
    for session in sessions:
        session.embed({"pixels": batch})  # the first run prepares memory
    start = threading.Barrier(plan.instances)

    def run(session: OnnxSession) -> float:
        start.wait()
        runs, started_s = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started_s) < seconds or runs == 0:
            session.embed({"pixels": batch})  # releases the GIL while it computes
            runs += 1
        return runs * len(batch) / elapsed

    with ThreadPoolExecutor(plan.instances) as pool:
        return sum(pool.map(run, sessions))


def _cpu_max_files(root: Path, own_cgroup: Path) -> Iterator[str]:
    """The cpu.max of this process's cgroup (version 2) and its parents; in a container the root is its own cgroup."""
    try:
        lines = own_cgroup.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = root / own
    for candidate in (folder, *folder.parents):
        if candidate.is_relative_to(root):
            try:
                yield (candidate / "cpu.max").read_text(encoding="utf-8")
            except OSError:
                continue


def _quota_cores(cpu_max: str) -> float | None:
    """The cores that "<quota> <period>" (microseconds) allows; None for "max", which means no limit."""
    quota, _, period = cpu_max.partition(" ")
    return None if quota.strip() == "max" else int(quota) / int(period)
