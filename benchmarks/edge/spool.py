"""How fast frames go to the edge's disk while there is no Kafka, and how fast they come back from it.

In each round the same frames of several cameras are put while no broker listens, and then replayed by an edge that
starts with them on disk; and they are sent directly, by outboxes that wait for Kafka, once before the replay and the
next time after it. Rates to Kafka are those of the last four fifths of the frames, so that connecting does not count.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks.edge.outbox import CAMERAS, direct_rate, make_frames, open_outboxes
from benchmarks.edge.site import Site
from benchmarks.harness import Figure, Options, Results, take_turns
from edge.sinks import Outgoing
from framematch.core.errors import FramematchError
from framematch.core.kafka.topics import ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.server import ReservedPort


def measure(site: Site, options: Options) -> Results:
    """Frames a second onto the disk, and the rate of a replay beside the direct one."""
    frames = make_frames(1_500 if options.quick else 8_000)
    warm_up = len(frames) // 5
    write_rates: list[float] = []

    async def replay() -> float:
        kafka = site.kafka.new_topics()
        await ensure_topics(kafka)
        spool = site.folder / kafka.topic_prefix
        write_rates.append(await _write_rate(kafka, frames, spool))
        async with open_outboxes(kafka, spool, live=True) as outboxes:
            started_s = await outboxes.acknowledged(warm_up)
            return (len(frames) - warm_up) / (await outboxes.acknowledged(len(frames)) - started_s)

    async def direct() -> float:
        kafka = site.kafka.new_topics()
        await ensure_topics(kafka)
        return await direct_rate(kafka, frames, site.folder / kafka.topic_prefix, warm_up=warm_up)

    sides = {"replay": lambda: uvloop.run(replay()), "direct": lambda: uvloop.run(direct())}
    rates = take_turns("spool", sides, rounds=options.rounds)
    found = Results(settings={"frames": len(frames), "not_counted": warm_up})
    found.compare("replay_vs_live", "replay", "direct", rates)
    found.figures["spool_write_fps"] = Figure.of(write_rates, "frames/s")
    return found


async def _write_rate(kafka: KafkaSettings, frames: Sequence[Outgoing], spool: Path) -> float:
    """Put all frames, of all cameras at the same time, while no broker listens."""
    port = ReservedPort()  # refuses connections
    no_broker = kafka.model_copy(update={"bootstrap_servers": port.address})
    async with open_outboxes(no_broker, spool, live=True) as outboxes:
        by_camera = [[outgoing for outgoing in frames if outgoing.frame.camera == camera] for camera in CAMERAS]
        started_s = time.monotonic()
        await asyncio.gather(*map(outboxes.put, by_camera))
        elapsed_s = time.monotonic() - started_s
        if outboxes.spooled != len(frames):
            raise FramematchError(f"{outboxes.spooled} of {len(frames)} frames are on disk")
        return len(frames) / elapsed_s
