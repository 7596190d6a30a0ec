"""What the parts share that compare two ways of running the consumer."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import uvloop

from benchmarks.consumer.plan import Plan
from benchmarks.consumer.run import Run
from benchmarks.harness import Comparison, Figure, Round, take_turns
from benchmarks.results import Results

Runs = Mapping[str, Callable[[], Awaitable[Run]]]
"""By the name of a side, how the consumer is run once."""


def compare(name: str, sides: Runs, plan: Plan, *, at_least: float | None = None) -> Results:
    """Frames a second of two sides in turns, the subject first in `sides`; and CPU time a frame of the consumer.

    Raises:
        FramematchError: a side failed.
    """
    subject, reference = sides
    runs: dict[str, list[Run]] = {side: [] for side in sides}

    def rate(side: str) -> float:
        runs[side].append(uvloop.run(_run(sides[side])))
        return runs[side][-1].frames_per_s

    rounds = []
    for rates in take_turns({side: partial(rate, side) for side in sides}, rounds=plan.rounds):
        rounds.append(Round(rates[subject], rates[reference]))
        said = ", ".join(f"{side} {rates[side]:.1f}" for side in sides)
        print(f"{name}, round {len(rounds)} of {plan.rounds}: {said} frames/s", flush=True)
    figure = plan.named(name)
    found = Results(settings=plan.settings() | {"frames": len(runs[subject][0].events)})
    found.add(Comparison(figure, subject, reference, "frames/s", tuple(rounds)), at_least=at_least)
    for side, done in runs.items():
        found.figures[f"{figure}.{side}_cpu"] = Figure.of([run.cpu_ms_per_frame for run in done], "ms/frame")
    return found


async def _run(side: Callable[[], Awaitable[Run]]) -> Run:
    return await side()
