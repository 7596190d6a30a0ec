"""What a stopped MongoDB costs: the consumer after MongoDB was killed, against one with MongoDB running.

Both start with MongoDB and process frames of every product, so that all metadata is in memory. Then MongoDB is killed,
or not, and a topic is filled that both process at full speed. Metadata expires after half a second, so one side reads
it again all the time, and the other one finds all of it expired and asks in vain.
"""

from collections import Counter
from functools import partial

from benchmarks.consumer.runs import Run, compare, fill_frozen, observe, running_consumers
from benchmarks.consumer.site import Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Options, Results
from benchmarks.kafka import reading
from framematch.core.errors import FramematchError
from framematch.core.kafka.topics import Topics

GOAL = 0.95
TTL_S = 0.5


def measure(site: Site, options: Options) -> Results:
    """The ratio of both rates."""
    frames = site.frames_for(options)
    sides = {
        "stopped": partial(_run, site, frames, stopped=True),
        "running": partial(_run, site, frames, stopped=False),
    }
    return compare("mongodb_stopped_vs_running", sides, options, at_least=GOAL)


async def _run(site: Site, frames: int, *, stopped: bool) -> Run:
    kafka = site.new_topics()
    await publish_all(kafka, frame_records(kafka, site.jpegs, len(site.jpegs)))
    environment = site.environment(kafka, FRAMEMATCH_MATCHING__METADATA_TTL_S=str(TTL_S))
    async with reading(kafka, Topics(kafka.topic_prefix).matches) as matches:
        with running_consumers(environment, site.folder) as consumers:
            await matches.read_all(len(site.jpegs), consumers.check)
            if stopped:
                site.mongodb.kill()
            try:
                await fill_frozen(site, kafka, consumers, frames)
                run = await observe(matches, consumers, frames)
            finally:
                if stopped:
                    site.mongodb.start()
            consumers.stop()
    _check(run, stopped=stopped)
    return run


def _check(run: Run, *, stopped: bool) -> None:
    """All metadata is there, most of it expired if and only if MongoDB was stopped."""
    states = Counter(event.metadata_state for event in run.events if event.metadata_state)
    if states["missing"] or stopped != (states["cached"] > states["fresh"]):
        raise FramematchError(f"metadata with MongoDB {'stopped' if stopped else 'running'}: {dict(states)}")
