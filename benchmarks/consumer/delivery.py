"""What exactly-once delivery costs: the consumer with `delivery: exactly_once` against its default, at least once.

Both read the same prefilled topic. A frame is done when its match event went to the producer; for a transaction that is
a moment before its commit, which does not change the rate of many. The events are read as a subscriber would that sees
committed ones alone, so all of them must have been committed in the end.
"""

from functools import partial

import uvloop

from benchmarks.consumer.bare import BareLoop, planned_batches
from benchmarks.consumer.plan import Plan
from benchmarks.consumer.run import run_consumer
from benchmarks.consumer.site import Site
from benchmarks.consumer.two_sides import compare
from benchmarks.frames import prefill
from benchmarks.results import Results

SETTING = "FRAMEMATCH_CONSUMER__DELIVERY"


def measure_delivery(site: Site, plan: Plan) -> Results:
    """The ratio of both rates.

    Raises:
        FramematchError: a side failed.
    """
    kafka = site.new_topics()
    frames = site.batch_size * uvloop.run(planned_batches(BareLoop.over(site), plan))
    uvloop.run(prefill(kafka, site.jpegs, frames=frames, cameras=plan.cameras))
    sides = {
        delivery: partial(run_consumer, site, kafka, frames, **{SETTING: delivery})
        for delivery in ("exactly_once", "at_least_once")
    }
    return compare("exactly_once_vs_at_least_once", sides, plan)
