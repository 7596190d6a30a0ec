"""How fast frames go to the edge's disk while there is no Kafka, and how fast they come back from it.

In each round the same frames of several cameras are put while no broker listens, and then replayed by an edge that
starts with them on disk; and they are sent directly, by outboxes that wait for Kafka, once before the replay and the
next time after it. Both rates are those of the last four fifths of the frames, so that connecting does not count.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks.edge.outbox import open_outboxes
from benchmarks.edge.publish import make_frames
from benchmarks.edge.site import Site
from benchmarks.harness import Figure, Options, Results, take_turns
from edge.sinks import Outgoing
from framematch.core.errors import FramematchError
from framematch.core.kafka.topics import ensure_topics
from framematch.core.settings import KafkaSettings
from stack.server import ReservedPort

_UNCOUNTED = 0.2  # share of the frames: connecting, and what was read ahead meanwhile


def measure(site: Site, options: Options) -> Results:
    """Frames a second onto the disk, and the rate of a replay beside the direct one."""
    frames = make_frames(1_500 if options.quick else 8_000)
    writes: list[float] = []

    def replay() -> float:
        wrote, replayed = uvloop.run(_replay(site, frames))
        writes.append(wrote)
        return replayed

    def direct() -> float:
        return uvloop.run(_direct(site, frames))

    rates = take_turns("spool", {"replay": replay, "direct": direct}, rounds=options.rounds)
    found = Results(
        figures={"spool_write_fps": Figure.of(writes, "frames/s")},
        settings={"frames": len(frames), "uncounted_share": _UNCOUNTED},
    )
    found.compare("replay_vs_live", "replay", "direct", rates)
    return found


async def _replay(site: Site, frames: Sequence[Outgoing]) -> tuple[float, float]:
    """Rates onto the disk and from there to Kafka."""
    kafka = site.new_topics()
    await ensure_topics(kafka)
    spool = site.folder / kafka.topic_prefix
    port = ReservedPort()  # refuses connections
    unreachable = kafka.model_copy(update={"bootstrap_servers": port.address})
    wrote = await _write(unreachable, spool, frames)
    async with open_outboxes(kafka, _cameras(frames), spool=spool, live=True) as boxes:
        first = round(_UNCOUNTED * len(frames))
        began_s = await boxes.acknowledged(first)
        return wrote, (len(frames) - first) / (await boxes.acknowledged(len(frames)) - began_s)


async def _write(kafka: KafkaSettings, spool: Path, frames: Sequence[Outgoing]) -> float:
    """Put all frames, of each camera in turn with the others, while nobody takes them."""
    cameras = _cameras(frames)
    async with open_outboxes(kafka, cameras, spool=spool, live=True) as boxes:

        async def put(camera: str) -> None:
            for outgoing in frames:
                if outgoing.frame.camera == camera:
                    await boxes.put(outgoing)

        began_s = time.perf_counter()
        await asyncio.gather(*map(put, cameras))
        elapsed_s = time.perf_counter() - began_s
        if boxes.spooled != len(frames):
            raise FramematchError(f"{boxes.spooled} of {len(frames)} frames are on disk")
        return len(frames) / elapsed_s


async def _direct(site: Site, frames: Sequence[Outgoing]) -> float:
    """The rate past the disk."""
    kafka = site.new_topics()
    await ensure_topics(kafka)
    spool = site.folder / kafka.topic_prefix
    async with open_outboxes(kafka, _cameras(frames), spool=spool, live=False) as boxes:
        first = round(_UNCOUNTED * len(frames))

        async def began() -> float:
            return await boxes.acknowledged(first)

        watching = asyncio.create_task(began())
        for outgoing in frames:
            await boxes.put(outgoing)
        end_s = await boxes.acknowledged(len(frames))
        return (len(frames) - first) / (end_s - await watching)


def _cameras(frames: Sequence[Outgoing]) -> list[str]:
    return sorted({outgoing.frame.camera for outgoing in frames})
