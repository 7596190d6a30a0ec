"""How close the consumer comes to Triton alone, and how far it is ahead of a naive first version.

Three sides take turns over one running Triton and one prefilled topic; the others are idle meanwhile:

- consumer: one real `framematch consume` in a new group, with all its work from fetch to commit;
- bare_triton: a loop around Triton's own client with random pictures in memory, in batches as large as the consumer's
  and as many in flight, which drops the answers;
- naive: a loop that takes one frame after the other (`benchmarks.consumer.naive`), over the first of the same frames.

Triton's statistics must show that all pictures of each side were computed. Rates are of the steady state: the start of
a process and joining a group do not count; publishing, acknowledging and committing do. A frame is done when its match
event goes to the Kafka producer, by the record's timestamp; for the bare loop when the answer is there.

No consumer can be faster than Triton alone: `consumer_vs_naive.possible` is the bare loop's rate over the naive one's.
"""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import uvloop

from benchmarks.consumer import naive
from benchmarks.consumer.runs import SeenMatch, mean_stages_ms, run_consumer
from benchmarks.consumer.site import BATCH_SIZE, Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Figure, Options, Results, steady_rate, take_turns
from benchmarks.kafka import reading
from benchmarks.triton import executions_since, read_executions
from framematch.core.errors import FramematchError
from framematch.core.settings import KafkaSettings

GOALS = {"consumer_vs_bare_triton": 0.95, "consumer_vs_naive": 1.8, "consumer_vs_naive_demo": 3.0}
_NAIVE_WARM_UP = 10
_NAIVE_SHARE = 3  # it reads one third of the frames, and takes about as long as the others
_END_S = 10.0


def measure(site: Site, options: Options) -> Results:
    """Ratios of the consumer's rate to both others, and what frames and processes spent."""
    frames = BATCH_SIZE * site.batches_for(options)
    naive_frames = max(frames // _NAIVE_SHARE, 3 * _NAIVE_WARM_UP)
    sides = _Sides(site, site.new_topics())
    uvloop.run(publish_all(sides.kafka, frame_records(sides.kafka, site.jpegs, frames)))
    measures = {
        "consumer": partial(sides.rate, "consumer", sides.consumer, frames),
        "bare_triton": partial(sides.rate, "bare_triton", sides.bare, frames),
        "naive": partial(sides.rate, "naive", sides.naive, naive_frames),
    }
    rates = take_turns("speed", measures, rounds=options.rounds)
    found = Results(at_least=GOALS, settings={"frames": frames, "naive_frames": naive_frames})
    for reference in ("bare_triton", "naive"):
        found.compare(options.named(f"consumer_vs_{reference}"), "consumer", reference, rates)
    possible = [rate["bare_triton"] / rate["naive"] for rate in rates]
    found.figures[f"{options.named('consumer_vs_naive')}.possible"] = Figure.of(possible, "ratio")
    for (name, unit), values in sides.seen.items():
        found.figures[f"{options.named('speed')}.{name}"] = Figure.of(values, unit)
    return found


@dataclass(frozen=True)
class _Sides:
    """Measures one side at a time over a prefilled topic. `seen` has further values by name and unit."""

    site: Site
    kafka: KafkaSettings
    seen: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def rate(self, side: str, run: Callable[[int], Coroutine[Any, Any, float]], frames: int) -> float:
        """The frames a second of one run, in which Triton must compute each frame's picture."""
        url = self.site.triton.url
        before = uvloop.run(read_executions(url))
        rate = uvloop.run(run(frames))
        added = uvloop.run(executions_since(url, before, pictures=frames))
        self._see(f"{side}_model_run", "frames", added.pictures / added.runs)
        return rate

    async def consumer(self, frames: int) -> float:
        run = await run_consumer(self.site, self.kafka, frames)
        self._see_stages("consumer", run.events)
        self._see("consumer_cpu", "ms/frame", run.cpu_ms_per_frame["consumer"])
        return run.frames_per_s

    async def bare(self, frames: int) -> float:
        return await self.site.bare_rate(frames // BATCH_SIZE)

    async def naive(self, frames: int) -> float:
        async with reading(self.kafka, "matches") as matches:
            with await asyncio.to_thread(subprocess.Popen, self._naive_command(frames)) as loop:
                try:
                    arrivals = await matches.read_all(frames, partial(_check_running, loop))
                    await asyncio.to_thread(loop.wait, _END_S)
                finally:
                    loop.kill()
        events = tuple(map(SeenMatch.of, arrivals))
        self._see_stages("naive", events)
        return steady_rate([event.published_at_s for event in events], warm_up=_NAIVE_WARM_UP)

    def _naive_command(self, frames: int) -> list[str]:
        options = naive.Options(
            bootstrap_servers=str(self.kafka.bootstrap_servers),
            topic_prefix=self.kafka.topic_prefix,
            group=f"naive-{uuid.uuid4().hex[:8]}",
            triton_grpc=self.site.triton.url,
            triton_http=self.site.triton.http_address,
            mongodb_uri=self.site.mongodb.uri,
            snapshots=str(self.site.folder / "naive-snapshots"),
            frames=frames,
        )
        return [sys.executable, "-m", naive.__name__, msgspec.json.encode(options).decode()]

    def _see_stages(self, side: str, events: tuple[SeenMatch, ...]) -> None:
        for stage, value in mean_stages_ms([event.timings_ms for event in events]).items():
            self._see(f"{side}_{stage}", "ms", value)

    def _see(self, name: str, unit: str, value: float) -> None:
        self.seen.setdefault((name, unit), []).append(value)


def _check_running(loop: subprocess.Popen[bytes]) -> None:
    if loop.poll():
        raise FramematchError(f"the naive loop ended with exit code {loop.returncode}")
