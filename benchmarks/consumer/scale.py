"""What further processes add: two and four `framematch consume` of one group against one.

All processes of a run have joined their group before its topic is filled, and begin at the same moment. Each shares the
machine with the others, with Triton, Kafka and MongoDB; so how much can be gained is bounded by the cores that one
process and the servers leave idle. That is measured too: `cores_used` by all of them with one process, and
`possible`, the cores that there are divided by it, which no number of processes can pass. The model is one that
computes next to nothing (`light` in `benchmarks.consumer.models`), so that inference is not the limit.
"""

import time
from dataclasses import replace
from functools import partial

import uvloop

from benchmarks.consumer.bare import BareLoop, planned_batches
from benchmarks.consumer.matches import watching_matches
from benchmarks.consumer.plan import Plan
from benchmarks.consumer.processes import running_consumers
from benchmarks.consumer.run import Run, fill_frozen, observe
from benchmarks.consumer.site import Site
from benchmarks.frames import prefill
from benchmarks.harness import Comparison, Figure, Round, take_turns
from benchmarks.results import Results
from framematch.model_build.repository.tune import available_cores

COUNTS = (1, 2, 4)
_LAST_SHARE = 0.1  # of the events is left out: some process is done before the others


def measure_scale(site: Site, plan: Plan) -> Results:
    """Ratios of the rates, and the cores that were used.

    Raises:
        FramematchError: a side failed.
    """
    frames = site.batch_size * uvloop.run(planned_batches(BareLoop.over(site), plan))
    cores: dict[int, list[float]] = {count: [] for count in COUNTS}

    def rate(count: int) -> float:
        run, used = uvloop.run(_run(site, plan, frames, count))
        cores[count].append(used)
        return run.frames_per_s

    rounds = []
    for rates in take_turns({str(count): partial(rate, count) for count in COUNTS}, rounds=plan.rounds):
        rounds.append(rates)
        said = ", ".join(f"{count}: {rates[str(count)]:.1f}" for count in COUNTS)
        print(f"processes, round {len(rounds)} of {plan.rounds}: {said} frames/s", flush=True)
    found = Results(settings=plan.settings() | {"frames": frames})
    for count in COUNTS[1:]:
        pairs = tuple(Round(rates[str(count)], rates["1"]) for rates in rounds)
        name = plan.named(f"processes_{count}_vs_1")
        found.add(Comparison(name, f"{count}_processes", "1_process", "frames/s", pairs))
    for count, used in cores.items():
        found.figures[f"{plan.named('processes')}.cores_used_by_{count}"] = Figure.of(used, "cores")
    possible = [available_cores() / used for used in cores[1]]
    found.figures[f"{plan.named('processes')}.possible"] = Figure.of(possible, "ratio")
    return found


async def _run(site: Site, plan: Plan, frames: int, count: int) -> tuple[Run, float]:
    """A run without its end, and the cores that consumers and servers used."""
    kafka = site.new_topics()
    await prefill(kafka, site.jpegs, frames=len(site.jpegs), cameras=plan.cameras)
    async with watching_matches(kafka) as matches:
        with running_consumers(site.environment(kafka), site.folder, count=count) as consumers:
            await matches.collect(len(site.jpegs), consumers.check)
            await fill_frozen(site, kafka, consumers, frames=frames, cameras=plan.cameras)
            began_s, servers_s = time.time(), site.cpu_s()
            run = await observe(site, matches, consumers, frames)
            servers_s = site.cpu_s() - servers_s
            consumers.stop()
    events = sorted(run.events, key=lambda event: event.at_s)
    used = (run.cpu_s + servers_s) / (events[-1].at_s - began_s)
    return replace(run, events=tuple(events[: round(frames * (1 - _LAST_SHARE))])), used
