"""How near the consumer comes to Triton alone, and how far it gets beyond a first version.

Three sides take turns over one running Triton and one prefilled topic; while one is measured, the others don't run:

- one real `framematch consume`, in a new group, which does all its work: fetch, decode, crop, infer, search, enrich,
  publish, commit;
- a loop around Triton's own client that sends pictures which are in memory already, in batches as large as the
  consumer's and as many of them in flight, and drops the answers (`benchmarks.consumer.bare`);
- a loop that takes one frame after the other (`benchmarks.consumer.naive`), over the first of the same frames.

Triton's own statistics must show that each side had all its pictures computed. What is compared is the steady state
(`benchmarks.steady`): the start of a process and the join of a group do not count; publishing, acknowledging and
committing do. A frame is done when its match event went to the Kafka producer, by the record's timestamp, and for the
bare loop when the answer is there.

No consumer can be faster than Triton alone, so `consumer_vs_naive.possible` is the bare loop's rate over the naive
one's. Where the model is most of a frame's time, or gains little from batches, that is not much.
"""

import asyncio
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvloop

from benchmarks.bare_triton import Executions, executions_since, read_executions
from benchmarks.consumer.bare import BareLoop, planned_batches
from benchmarks.consumer.matches import PublishedEvent, watching_matches
from benchmarks.consumer.plan import Plan
from benchmarks.consumer.run import mean_stages_ms, run_consumer
from benchmarks.consumer.site import Site
from benchmarks.frames import prefill
from benchmarks.harness import Comparison, Figure, Round, take_turns
from benchmarks.results import Results
from benchmarks.steady import steady_event_rate
from framematch.core.errors import FramematchError
from framematch.core.settings import KafkaSettings

GOALS = {"consumer_vs_bare_triton": 0.95, "consumer_vs_naive": 1.8, "consumer_vs_naive_demo": 3.0}
_NAIVE_WARM_UP = 10
_NAIVE_SHARE = 3  # it reads one of so many frames, and takes about as long as the others
_NAIVE = "benchmarks.consumer.naive"
_END_S = 10.0


def measure_speed(site: Site, plan: Plan) -> Results:
    """Ratios of the consumer's rate to both others, and what frames and processes spent.

    Raises:
        FramematchError: a side failed, or the sides did not do the same work.
    """
    bare = BareLoop.over(site)
    sides = Sides(site, site.new_topics(), bare, uvloop.run(planned_batches(bare, plan)))
    uvloop.run(prefill(sides.kafka, site.jpegs, frames=sides.frames, cameras=plan.cameras))
    rounds = []
    for rates in take_turns({"consumer": sides.consumer, "bare": sides.bare, "naive": sides.naive}, rounds=plan.rounds):
        rounds.append(rates)
        said = ", ".join(f"{name} {rates[name]:.1f}" for name in ("consumer", "bare", "naive"))
        print(f"speed, round {len(rounds)} of {plan.rounds}: {said} frames/s", flush=True)
    found = Results(settings={**plan.settings(), "frames": sides.frames, "naive_frames": sides.naive_frames})
    for side, reference in (("bare", "bare_triton"), ("naive", "naive")):
        name = plan.named(f"consumer_vs_{reference}")
        pairs = tuple(Round(rates["consumer"], rates[side]) for rates in rounds)
        found.add(Comparison(name, "consumer", reference, "frames/s", pairs), at_least=GOALS.get(name))
    possible = [rates["bare"] / rates["naive"] for rates in rounds]
    found.figures = {f"{plan.named('consumer_vs_naive')}.possible": Figure.of(possible, "ratio")}
    found.figures |= {f"{plan.named('speed')}.{name}": figure for name, figure in sides.seen().items()}
    return found


@dataclass
class Sides:
    """Measures one side at a time, over a topic of `batches` full batches of frames."""

    site: Site
    kafka: KafkaSettings
    loop: BareLoop
    batches: int
    _seen: dict[tuple[str, str], list[float]] = field(default_factory=dict, init=False)

    @property
    def frames(self) -> int:
        """Of one run of the consumer or the bare loop."""
        return self.batches * self.site.batch_size

    @property
    def naive_frames(self) -> int:
        """Of one run of the naive loop."""
        return max(self.frames // _NAIVE_SHARE, 3 * _NAIVE_WARM_UP)

    def seen(self) -> dict[str, Figure]:
        """What was seen beside the rates."""
        return {name: Figure.of(values, unit) for (name, unit), values in self._seen.items()}

    def consumer(self) -> float:
        """Frames a second of a new `framematch consume` in a new group."""
        return uvloop.run(self._consumer())

    def bare(self) -> float:
        """Frames a second of the loop around Triton's client."""
        return uvloop.run(self._bare())

    def naive(self) -> float:
        """Frames a second of the loop that takes frames one by one."""
        return uvloop.run(self._naive())

    async def _consumer(self) -> float:
        before = await read_executions(self.site.triton.url)
        run = await run_consumer(self.site, self.kafka, self.frames)
        self._see_runs("consumer", await executions_since(self.site.triton.url, before, pictures=self.frames))
        self._see_stages("consumer", mean_stages_ms([event.timings_ms for event in run.events]))
        self._see("consumer_cpu", "ms/frame", run.cpu_ms_per_frame)
        return run.frames_per_s

    async def _bare(self) -> float:
        rate, did = await self.loop.run(self.batches)
        self._see_runs("bare_triton", did)
        return rate

    async def _naive(self) -> float:
        before = await read_executions(self.site.triton.url)
        events = await self._naive_events()
        self._see_runs("naive", await executions_since(self.site.triton.url, before, pictures=self.naive_frames))
        self._see_stages("naive", mean_stages_ms([event.timings_ms for event in events]))
        return steady_event_rate([event.at_s for event in events], warm_up=_NAIVE_WARM_UP)

    async def _naive_events(self) -> list[PublishedEvent]:
        async with watching_matches(self.kafka) as matches:
            loop = await asyncio.create_subprocess_exec(sys.executable, "-m", _NAIVE, *self._naive_arguments())
            try:
                events = await matches.collect(self.naive_frames, lambda: _check_running(loop))
                await asyncio.wait_for(loop.wait(), _END_S)
            finally:
                if loop.returncode is None:
                    loop.kill()
            return events

    def _naive_arguments(self) -> Iterable[str]:
        options: dict[str, Any] = {
            "bootstrap-servers": self.kafka.bootstrap_servers,
            "topic-prefix": self.kafka.topic_prefix,
            "group": f"naive-{uuid.uuid4().hex[:8]}",
            "triton-grpc": self.site.triton.url,
            "triton-http": self.site.triton.http_address,
            "mongodb-uri": self.site.mongodb.uri,
            "snapshots": self.site.folder / "naive-snapshots",
            "frames": self.naive_frames,
        }
        return [f"--{name}={value}" for name, value in options.items()]

    def _see_runs(self, side: str, did: Executions) -> None:
        self._see(f"{side}_model_run", "frames", did.pictures / did.runs)

    def _see_stages(self, side: str, stages_ms: Mapping[str, float]) -> None:
        for stage, value in stages_ms.items():
            self._see(f"{side}_{stage}", "ms", value)

    def _see(self, name: str, unit: str, value: float) -> None:
        self._seen.setdefault((name, unit), []).append(value)


def _check_running(loop: asyncio.subprocess.Process) -> None:
    if loop.returncode:
        raise FramematchError(f"the naive loop ended with exit code {loop.returncode}")
