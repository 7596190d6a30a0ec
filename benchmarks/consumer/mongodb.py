"""What a stopped MongoDB costs: the consumer with MongoDB killed under it, against one with MongoDB running.

Both sides start with MongoDB and answer frames of every product, so that all metadata is in memory. Then it is killed,
or not, and a topic is filled that both answer at full speed. Metadata is used for half a second only before it is to be
read again, so the one side reads it all the time and the other finds all of it out of date and asks in vain.
"""

from collections import Counter
from functools import partial

import uvloop

from benchmarks.consumer.bare import BareLoop, planned_batches
from benchmarks.consumer.matches import watching_matches
from benchmarks.consumer.plan import Plan
from benchmarks.consumer.processes import running_consumers
from benchmarks.consumer.run import Run, fill_frozen, observe
from benchmarks.consumer.site import Site
from benchmarks.consumer.two_sides import compare
from benchmarks.frames import prefill
from benchmarks.results import Results
from framematch.core.errors import FramematchError

GOAL = 0.95
TTL_S = 0.5


def measure_mongodb(site: Site, plan: Plan) -> Results:
    """The ratio of both rates.

    Raises:
        FramematchError: a side failed, or events lacked metadata that was in memory.
    """
    frames = site.batch_size * uvloop.run(planned_batches(BareLoop.over(site), plan))
    sides = {
        "stopped": partial(_run, site, plan, frames, stopped=True),
        "running": partial(_run, site, plan, frames, stopped=False),
    }
    return compare("mongodb_stopped_vs_running", sides, plan, at_least=GOAL)


async def _run(site: Site, plan: Plan, frames: int, *, stopped: bool) -> Run:
    kafka = site.new_topics()
    await prefill(kafka, site.jpegs, frames=len(site.jpegs), cameras=plan.cameras)
    environment = site.environment(kafka, FRAMEMATCH_MATCHING__METADATA_TTL_S=str(TTL_S))
    async with watching_matches(kafka) as matches:
        with running_consumers(environment, site.folder) as consumers:
            await matches.collect(len(site.jpegs), consumers.check)
            if stopped:
                site.mongodb.kill()
            try:
                await fill_frozen(site, kafka, consumers, frames=frames, cameras=plan.cameras)
                run = await observe(site, matches, consumers, frames)
            finally:
                if stopped:
                    site.mongodb.start()
            consumers.stop()
    _check(run, stopped=stopped)
    return run


def _check(run: Run, *, stopped: bool) -> None:
    """All metadata is there, most of it out of date if and only if MongoDB was away."""
    states = Counter(event.metadata_state for event in run.events if event.metadata_state)
    if states["missing"] or stopped != (states["cached"] > states["fresh"]):
        raise FramematchError(f"metadata with MongoDB {'away' if stopped else 'there'}: {dict(states)}")
