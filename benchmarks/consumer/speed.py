"""How close the consumer comes to Triton alone, and how far it is ahead of a naive first version.

Three sides take turns over one running Triton and one prefilled topic; the others are idle meanwhile:

- consumer: one real `framematch consume` in a new group, with all its work from fetch to commit;
- bare_triton: a loop around Triton's own client with random pictures in memory, in batches as large as the consumer's
  and as many in flight, which drops the answers;
- batching_loop: what a user would write in an afternoon (`benchmarks.consumer.batching_loop`), over the same frames;
- naive: a loop that takes one frame after the other (`benchmarks.consumer.naive`), over the first of them.

Triton's statistics must show that all pictures of each side were computed. Rates are of the steady state: the start of
a process and joining a group do not count; publishing, acknowledging and committing do. A frame is done when its match
event goes to the Kafka producer, by the record's timestamp; for the bare loop when the answer is there.

No consumer can be faster than Triton alone: `consumer_vs_naive.possible` is the bare loop's rate over the naive one's.

`consumer_cpu_vs_decode` is the consumer's CPU time for a frame, with all its work, over that of OpenCV's whole decode
and bilinear scaling of the same frames in one thread, the median of some passes after one to warm up, measured in the
same round.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType

import cv2
import numpy as np
import uvloop

from benchmarks.consumer import batching_loop, naive
from benchmarks.consumer.runs import SeenMatch, run_consumer
from benchmarks.consumer.site import BATCH_SIZE, WARM_UP_BATCHES, Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Figure, Options, Results, steady_rate, take_turns
from benchmarks.kafka import reading
from benchmarks.processes import check
from benchmarks.triton import read_statistics, statistics_since
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S
from framematch.matching.serving.opener import WARM_UP_PICTURES
from framematch.stack.process import Command, ServerProcess

GOALS = {
    "b32": {"consumer_vs_bare_triton": 0.95, "consumer_vs_naive": 1.8},
    "demo": {"consumer_vs_naive": 3.0, "consumer_vs_bare_triton": 0.93, "consumer_vs_batching_loop": 1.15},
    "demo-int8": {"consumer_vs_bare_triton": 0.9, "consumer_vs_batching_loop": 1.6},
}
_NAIVE_WARM_UP = 10
_SCALED = (224, 224)
_DECODE_PASSES = 5
_NAIVE_SHARE = 3  # it reads one third of the frames, and takes about as long as the others


def measure(site: Site, options: Options) -> Results:
    """Ratios of the consumer's rate to both others, and the consumer's CPU time for a frame."""
    frames = site.frames_for(options)
    naive_frames = max(frames // _NAIVE_SHARE, 3 * _NAIVE_WARM_UP)
    kafka = site.kafka.new_topics()
    cpu_ms: list[float] = []
    of_decode: list[float] = []
    uvloop.run(publish_all(kafka, frame_records(kafka, site.jpegs, frames)))

    def consumer() -> float:
        run = uvloop.run(run_consumer(site, kafka, frames))
        cpu_ms.append(run.cpu_ms_per_frame["consumer"])
        of_decode.append(cpu_ms[-1] / _decode_cpu_ms(site))
        return run.frames_per_s

    def bare_triton() -> float:
        return uvloop.run(site.bare_rate(frames // BATCH_SIZE))

    sides = {
        "consumer": partial(_checked, site, consumer, frames + WARM_UP_PICTURES),
        "bare_triton": partial(_checked, site, bare_triton, frames),
        "batching_loop": partial(_checked, site, partial(_loop_rate, site, kafka, batching_loop, frames), frames),
        "naive": partial(_checked, site, partial(_loop_rate, site, kafka, naive, naive_frames), naive_frames),
    }
    rates = take_turns("speed", sides, rounds=options.rounds)
    found = Results(at_least=GOALS.get(site.model, {}), settings={"frames": frames, "naive_frames": naive_frames})
    found.compare("consumer_vs_bare_triton", "consumer", "bare_triton", rates)
    found.compare("consumer_vs_batching_loop", "consumer", "batching_loop", rates)
    found.compare("consumer_vs_naive", "consumer", "naive", rates)
    possible = [rate["bare_triton"] / rate["naive"] for rate in rates]
    found.figures["consumer_vs_naive.possible"] = Figure.of(possible, "ratio")
    found.figures["consumer_cpu"] = Figure.of(cpu_ms, "ms/frame")
    found.figures["consumer_cpu_vs_decode"] = Figure.of(of_decode, "ratio")
    return found


def _checked(site: Site, rate: Callable[[], float], pictures: int) -> float:
    """A rate for which Triton has computed exactly `pictures` pictures."""
    before = uvloop.run(read_statistics(site.triton.url))
    found = rate()
    uvloop.run(statistics_since(site.triton.url, before, pictures=pictures))
    return found


def _loop_rate(site: Site, kafka: KafkaSettings, loop: ModuleType, frames: int) -> float:
    """Frames a second of one of the other loops, in a process of its own."""
    return uvloop.run(_run_loop(site, kafka, loop, frames))


async def _run_loop(site: Site, kafka: KafkaSettings, loop: ModuleType, frames: int) -> float:
    address = site.triton.http_address if loop is naive else site.triton.url
    command = Command((sys.executable, "-m", loop.__name__, address, str(frames)), site.environment(kafka))
    async with reading(kafka, "matches") as matches:
        process = ServerProcess(command, site.folder / "loop.log")
        try:
            arrivals = await matches.read_all(frames, partial(check, process, loop.__name__))
        finally:
            process.stop()
    events = map(SeenMatch.of, arrivals)
    warm_up = _NAIVE_WARM_UP if loop is naive else WARM_UP_BATCHES * batching_loop.RECORDS
    return steady_rate([event.published_at_s for event in events], warm_up=warm_up)


def _decode_cpu_ms(site: Site) -> float:
    """CPU time of OpenCV's whole decode of a frame, and of scaling it by bilinear interpolation; median of passes."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the time of other threads would not be counted
    try:
        _warm_up, *passes_s = (_decode_pass_cpu_s(site.jpegs) for _ in range(1 + _DECODE_PASSES))
    finally:
        cv2.setNumThreads(threads)
    return MS_PER_S * statistics.median(passes_s) / len(site.jpegs)


def _decode_pass_cpu_s(jpegs: Sequence[bytes]) -> float:
    started_s = time.thread_time()
    for jpeg in jpegs:
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        cv2.resize(np.asarray(picture), _SCALED, interpolation=cv2.INTER_LINEAR)
    return time.thread_time() - started_s
