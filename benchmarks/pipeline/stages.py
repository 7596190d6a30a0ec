"""Where a frame's time and the machine's CPU time go.

The time of a frame by stage is what its match event says (`timings_ms`), over a full topic and at half load, where
`elsewhere` is the rest of the way from publisher to subscriber: the broker twice. On a full topic frames wait for the
slowest stage, so `wait` and `batch` are long by intention.

CPU time is of the full topic, by process, and within the consumer by thread and function
(`benchmarks.pipeline.sampled`).
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop
from matplotlib.axes import Axes

from benchmarks.consumer.run import mean_stages_ms
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure
from benchmarks.pipeline.bench import Bench, running_bench
from benchmarks.pipeline.part import Measured
from benchmarks.pipeline.plan import Plan
from benchmarks.pipeline.sampled import FILE_VARIABLE, SampledSecond
from benchmarks.processes import tree_cpu_s
from benchmarks.results import Results

SAMPLED = "benchmarks.pipeline.sampled"
LOAD = 0.5
STAGES = ("wait", "decode", "batch", "infer", "search", "enrich", "elsewhere")
THREADS: Mapping[str, str] = {
    "MainThread": "event loop",  # what it has used in `asyncio.runners.Runner.run` is uvloop's own: sockets and timers
    "sampler": "this sampling",
    "Thread-1 (_poll_wrapper)": "gRPC",
    "uvloop": "event loop's helpers",
}
_MS_PER_S = 1_000
_MOST_FUNCTIONS = 15
WAITING = frozenset({"concurrent.futures.thread._worker", "threading.Condition.wait"})


@dataclass(frozen=True)
class Breakdown:
    """Milliseconds a frame: of its way, by load and stage; of CPU, by process and by the consumer's thread."""

    stages_ms: Mapping[str, Mapping[str, float]]
    processes_ms: Mapping[str, float]
    threads_ms: Mapping[str, float]
    functions_ms: Mapping[str, float]


def measure_stages(site: Site, plan: Plan) -> Measured:
    """The breakdown of one backlog and one window.

    Raises:
        FramematchError: a frame was not answered, or something did not start.
    """
    found = uvloop.run(_measure(site, plan))
    print("\nWhere the consumer's CPU time goes, ms a frame, by thread and function:")
    for function, ms in found.functions_ms.items():
        print(f"{ms:8.3f}  {function}")
    figures = {
        **{f"stages_ms.{load}.{stage}": ms for load, stages in found.stages_ms.items() for stage, ms in stages.items()},
        **{f"cpu_ms.{name}": ms for name, ms in found.processes_ms.items()},
        **{f"consumer_cpu_ms.{_key(name)}": ms for name, ms in found.threads_ms.items()},
    }
    return Measured(
        Results(
            figures={name: Figure.of([ms], "ms/frame") for name, ms in figures.items()},
            settings={"frames": plan.backlog_frames, "load": LOAD, "functions_ms": dict(found.functions_ms)},
        ),
        [lambda axes: plot_stages(axes, found), lambda axes: plot_cpu(axes, found)],
    )


def _key(name: str) -> str:
    return name.replace(" ", "_").replace("'", "")


async def _measure(site: Site, plan: Plan) -> Breakdown:
    file = site.folder / "samples.jsonl"
    async with running_bench(site, site.new_topics(), module=SAMPLED, **{FILE_VARIABLE: str(file)}) as bench:
        before, began_s = _cpu_s(bench), time.time()
        run = await bench.backlog(plan.backlog_frames)
        ended_s, after = time.time(), _cpu_s(bench)
        window = await bench.window(LOAD * run.frames_per_s, plan.window_s)
    half = mean_stages_ms([arrival.timings_ms for arrival in window.arrivals])
    latency_ms = sum(arrival.latency_ms for arrival in window.arrivals) / len(window.arrivals)
    processes_ms = {name: _MS_PER_S * (after[name] - before[name]) / plan.backlog_frames for name in before}
    by_function = functions_between(read_samples(file), began_s, ended_s)
    per_frame = {name: ms / plan.backlog_frames for name, ms in by_function.items()}
    return Breakdown(
        stages_ms={
            "backlog": mean_stages_ms([event.timings_ms for event in run.events]),
            "load_50": {**half, "elsewhere": latency_ms - sum(half.values())},
        },
        processes_ms=processes_ms,
        threads_ms=by_thread(per_frame, processes_ms["consumer"]),
        functions_ms=dict(list(per_frame.items())[:_MOST_FUNCTIONS]),
    )


def _cpu_s(bench: Bench) -> dict[str, float]:
    site = bench.site
    servers = {"triton": site.triton.pid, "kafka": site.kafka.pid, "mongodb": site.mongodb.pid}
    return {"consumer": bench.consumers.cpu_s(), **{name: tree_cpu_s(pid) for name, pid in servers.items()}}


def read_samples(file: Path) -> list[SampledSecond]:
    """What the sampled consumer has written."""
    return [msgspec.json.decode(line, type=SampledSecond) for line in file.read_bytes().splitlines()]


def functions_between(samples: Iterable[SampledSecond], began_s: float, ended_s: float) -> dict[str, float]:
    """Milliseconds by `thread: function` in the seconds between, the most first; threads of a pool together."""
    threads: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for sample in samples:
        if began_s <= sample.second < ended_s:
            for thread, functions in sample.ms.items():
                for function, ms in functions.items():
                    threads[thread_kind(thread)][function] += ms
    return most_first(
        {
            f"{thread}: {function}": ms
            for thread, functions in threads.items()
            for function, ms in at_work(functions).items()
        }
    )


def at_work(functions_ms: Mapping[str, float]) -> dict[str, float]:
    """What a thread of a pool has used and was seen waiting after is spread over the functions that it was seen in."""
    waited_ms = sum(functions_ms.get(name, 0.0) for name in WAITING)
    worked = {name: ms for name, ms in functions_ms.items() if name not in WAITING}
    worked_ms = sum(worked.values())
    if not worked_ms:
        return dict(functions_ms)
    return {name: ms * (1 + waited_ms / worked_ms) for name, ms in worked.items()}


def most_first(values: Mapping[str, float]) -> dict[str, float]:
    """By falling value."""
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def thread_kind(name: str) -> str:
    """`decode_1` is one of `decode`."""
    pool, _, number = name.rpartition("_")
    kind = pool if number.isdigit() else name
    return THREADS.get(kind, kind)


def by_thread(functions_ms: Mapping[str, float], process_ms: float) -> dict[str, float]:
    """The sum by thread; what is missing to the whole process belongs to threads that are not Python's."""
    found: dict[str, float] = defaultdict(float)
    for name, ms in functions_ms.items():
        found[name.partition(":")[0]] += ms
    return {**most_first(found), "not Python": max(0.0, process_ms - sum(found.values()))}


def plot_stages(axes: Axes, found: Breakdown) -> None:
    """One bar for each load, with the share of each stage; what is too small to see is in the table."""
    totals = {name: sum(stages.values()) for name, stages in found.stages_ms.items()}
    labels = [f"{name}\n{total:.0f} ms" for name, total in totals.items()]
    lefts = [0.0] * len(labels)
    for stage in STAGES:
        shares = [100 * stages.get(stage, 0.0) / totals[name] for name, stages in found.stages_ms.items()]
        axes.barh(labels, shares, left=lefts, label=stage)
        lefts = [left + share for left, share in zip(lefts, shares, strict=True)]
    axes.set(title="a frame's way, mean", xlabel="% of its time", xlim=(0, 100), ylim=(-0.6, len(labels) + 0.2))
    axes.legend(ncols=4, fontsize="small", loc="upper center")


def plot_cpu(axes: Axes, found: Breakdown) -> None:
    """CPU time a frame by process, and below of the consumer by thread."""
    bars = [*found.processes_ms.items(), *((f"consumer: {name}", ms) for name, ms in found.threads_ms.items())]
    colours = ["tab:blue"] * len(found.processes_ms) + ["tab:cyan"] * len(found.threads_ms)
    labels: Sequence[str] = [name for name, _ in bars]
    drawn = axes.barh(labels, [ms for _, ms in bars], color=colours)
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set(title="CPU time of a frame, full topic", xlabel="ms")
    axes.set_xlim(0, 1.2 * max(ms for _, ms in bars))
