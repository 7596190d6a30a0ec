"""How long a frame takes from Kafka's front door to a subscriber, at 25, 50 and 80 % of what the consumer can do.

The time goes from the moment when a frame is handed to a producer that does not linger, to the moment when a subscriber
on the same machine has its match event: the broker twice, and the consumer. Frames come as from cameras, each with its
own phase at a steady pace with a little jitter. A round begins by measuring the capacity, with a full topic, so that a
machine that has become slower is not asked for more than it can do.

`latency_p99_at_50_vs_window_plus_inference` holds the 99th percentile at half load against what cannot be avoided: the
time that a batch waits for company (`consumer.batch_window_ms`) and one inference, by Triton's own statistics in the
same window, without its queue.

With exactly-once delivery an event is seen when its transaction is committed; its latency is measured at half load.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import uvloop
from matplotlib.axes import Axes
from matplotlib.ticker import ScalarFormatter

from benchmarks.consumer.delivery import SETTING as DELIVERY
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure
from benchmarks.pipeline.bench import Bench, Window, running_bench
from benchmarks.pipeline.part import Measured
from benchmarks.pipeline.plan import Plan
from benchmarks.results import Results, percentile
from framematch.core.settings import ConsumerSettings

LOADS = (25, 50, 80)  # % of the capacity
PERCENTS = (50, 95, 99)
GOAL_LOAD, GOAL_PERCENT, GOAL = 50, 99, 2.0
_GOAL_NAME = "latency_p99_at_50_vs_window_plus_inference"


@dataclass
class Rounds:
    """All rounds of one delivery: capacities, and windows by load."""

    capacities: list[float] = field(default_factory=list)
    windows: dict[int, list[Window]] = field(default_factory=dict)

    def percentiles_ms(self, load: int, percent: int) -> Figure:
        """Over the windows of a load."""
        latencies = ([arrival.latency_ms for arrival in window.arrivals] for window in self.windows[load])
        return Figure.of([percentile(window, percent) for window in latencies], "ms")


def measure_latency(site: Site, plan: Plan) -> Measured:
    """Percentiles by load, the capacity, and the goal.

    Raises:
        FramematchError: a frame was not answered, or something did not start.
    """
    default = uvloop.run(_measure(site, plan, "at_least_once", LOADS))
    exactly = uvloop.run(_measure(site, plan, "exactly_once", (GOAL_LOAD,)))
    found = Results(
        figures={
            "capacity": Figure.of(default.capacities, "frames/s"),
            **_figures("latency_ms", default),
            **_figures("latency_exactly_once_ms", exactly),
            **_goal_figures(default.windows[GOAL_LOAD]),
            "publisher_late_ms": Figure.of([w.late_ms for windows in default.windows.values() for w in windows], "ms"),
        },
        at_most={_GOAL_NAME: GOAL},
        settings={
            "rounds": plan.rounds,
            "window_s": plan.window_s,
            "batch_window_ms": ConsumerSettings().batch_window_ms,
            "frames_per_window": {
                load: [len(w.arrivals) for w in windows] for load, windows in default.windows.items()
            },
        },
    )
    return Measured(found, [lambda axes: plot(axes, default, exactly)])


async def _measure(site: Site, plan: Plan, delivery: str, loads: Sequence[int]) -> Rounds:
    rounds = Rounds()
    async with running_bench(site, site.new_topics(), **{DELIVERY: delivery}) as bench:
        for number in range(1, plan.rounds + 1):
            rounds.capacities.append((await bench.backlog(plan.backlog_frames)).frames_per_s)
            for load in loads if number % 2 else reversed(loads):
                rounds.windows.setdefault(load, []).append(await _window(bench, rounds.capacities[-1], load, plan))
            said = ", ".join(f"p99 at {load} % {rounds.percentiles_ms(load, 99).median:.0f} ms" for load in loads)
            print(
                f"latency, {delivery}, round {number} of {plan.rounds}: {rounds.capacities[-1]:.1f} frames/s; {said}",
                flush=True,
            )
    return rounds


async def _window(bench: Bench, capacity: float, load: int, plan: Plan) -> Window:
    return await bench.window(capacity * load / 100, plan.window_s)


def _figures(name: str, rounds: Rounds) -> Mapping[str, Figure]:
    return {
        f"{name}.load_{load}.p{percent}": rounds.percentiles_ms(load, percent)
        for load in sorted(rounds.windows)
        for percent in PERCENTS
    }


def _goal_figures(windows: Sequence[Window]) -> Mapping[str, Figure]:
    unavoidable_ms = [ConsumerSettings().batch_window_ms + window.did.inference_ms for window in windows]
    p99_ms = [percentile([arrival.latency_ms for arrival in window.arrivals], GOAL_PERCENT) for window in windows]
    ratios = [found / least for found, least in zip(p99_ms, unavoidable_ms, strict=True)]
    return {
        _GOAL_NAME: Figure.of(ratios, "ratio"),
        f"{_GOAL_NAME}.inference": Figure.of([window.did.inference_ms for window in windows], "ms"),
        f"{_GOAL_NAME}.batch": Figure.of([window.did.pictures / window.did.runs for window in windows], "frames"),
    }


def plot(axes: Axes, default: Rounds, exactly: Rounds) -> None:
    """Percentiles by load, with their spread over the rounds."""
    for number, percent in enumerate(PERCENTS):
        _plot_line(axes, default, percent, f"p{percent}", marker="o", shift=number - 1.0)
    _plot_line(axes, exactly, GOAL_PERCENT, "p99, exactly once", marker="s", shift=2.0)
    axes.set(title="from publish to subscriber", xlabel="load, % of capacity", ylabel="ms", yscale="log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.tick_params(which="minor", labelsize="small")
    axes.set_xticks(LOADS)
    axes.legend()


def _plot_line(axes: Axes, rounds: Rounds, percent: int, label: str, *, marker: str, shift: float) -> None:
    """`shift` moves it aside, so that whiskers do not cover each other."""
    loads = sorted(rounds.windows)
    figures = [rounds.percentiles_ms(load, percent) for load in loads]
    medians = [figure.median for figure in figures]
    spread = [[f.median - f.low for f in figures], [f.high - f.median for f in figures]]
    axes.errorbar([load + shift for load in loads], medians, yerr=spread, fmt=f"{marker}-", capsize=4, label=label)
