"""How long a frame takes from Kafka to a subscriber, at 25, 50 and 80 % of what the consumer can do.

The time runs from giving a frame to a producer that does not linger to the moment when a subscriber on the same machine
has its match event: the broker twice, and the consumer. Frames come as from cameras, each with its own phase at a
steady rate with a little jitter. Each round starts by measuring the capacity with a full topic, so that the load is
right also on a machine that has become slower.

`latency_p99_at_50_vs_window_plus_inference` compares the 99th percentile at half load with what cannot be avoided: the
time that a batch waits for more regions (`consumer.batch_window_ms`) and one inference, by Triton's statistics in the
same window, without its queue.

With exactly-once delivery an event is seen when its transaction is committed; that is measured at half load.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

from benchmarks.consumer.conditions import DELIVERY
from benchmarks.consumer.runs import running_consumer
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure, Options, Results, percentile
from benchmarks.pipeline.paced import Window, backlog_frames, publish_paced, window_s
from framematch.core.settings import ConsumerSettings

LOADS = (25, 50, 80)  # % of the capacity
PERCENTS = (50, 95, 99)
GOAL_LOAD, GOAL_PERCENT, GOAL = 50, 99, 2.0


@dataclass
class Rounds:
    """All rounds of one delivery mode: capacities in frames a second, and windows by load."""

    capacities: list[float] = field(default_factory=list)
    windows: dict[int, list[Window]] = field(default_factory=dict)

    def percentiles_ms(self, load: int, percent: int) -> list[float]:
        """Of each window of a load."""
        return [percentile([event.latency_ms for event in window.events], percent) for window in self.windows[load]]

    def figures(self, name: str) -> dict[str, Figure]:
        """All percentiles by load."""
        return {
            f"{name}.load_{load}.p{percent}": Figure.of(self.percentiles_ms(load, percent), "ms")
            for load in sorted(self.windows)
            for percent in PERCENTS
        }


def measure(site: Site, options: Options) -> Results:
    """Percentiles by load, the capacity, and the goal."""
    default = uvloop.run(_measure(site, options, "at_least_once", LOADS))
    exactly_once = uvloop.run(_measure(site, options, "exactly_once", (GOAL_LOAD,)))
    late_ms = [window.late_ms for windows in default.windows.values() for window in windows]
    name, batch_window_ms = "latency_p99_at_50_vs_window_plus_inference", ConsumerSettings().batch_window_ms
    at_goal = default.windows[GOAL_LOAD]
    latencies_ms = default.percentiles_ms(GOAL_LOAD, GOAL_PERCENT)
    unavoidable_ms = [batch_window_ms + window.inference_ms for window in at_goal]
    ratios = [latency_ms / bound_ms for latency_ms, bound_ms in zip(latencies_ms, unavoidable_ms, strict=True)]
    return Results(
        figures={
            "capacity": Figure.of(default.capacities, "frames/s"),
            **default.figures("latency_ms"),
            **exactly_once.figures("latency_exactly_once_ms"),
            name: Figure.of(ratios, "ratio"),
            f"{name}.inference": Figure.of([window.inference_ms for window in at_goal], "ms"),
            f"{name}.batch": Figure.of([window.mean_batch for window in at_goal], "frames"),
            "publisher_late_ms": Figure.of(late_ms, "ms"),
        },
        at_most={name: GOAL},
        settings={"window_s": window_s(options), "batch_window_ms": batch_window_ms},
    )


async def _measure(site: Site, options: Options, delivery: str, loads: Sequence[int]) -> Rounds:
    rounds = Rounds()
    async with running_consumer(site, site.kafka.new_topics(), {DELIVERY: delivery}, warm=True) as consumer:
        for number in range(options.rounds):
            capacity = (await consumer.backlog(backlog_frames(options))).frames_per_s
            rounds.capacities.append(capacity)
            for load in reversed(loads) if number % 2 else loads:
                window = await publish_paced(consumer, capacity * load / 100, window_s(options))
                rounds.windows.setdefault(load, []).append(window)
            text = ", ".join(f"p99 at {load} % {rounds.percentiles_ms(load, 99)[-1]:.0f} ms" for load in loads)
            name = f"latency, {delivery}, round {number + 1} of {options.rounds}"
            print(f"{name}: {capacity:.1f} frames/s, {text}", flush=True)
    return rounds
