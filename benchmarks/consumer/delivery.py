"""What exactly-once delivery costs: the consumer with `delivery: exactly_once` against at least once, its default.

Both read the same prefilled topic. A frame is done when its match event goes to the producer; for a transaction that is
a moment before its commit, which makes no difference over many. Only committed events are read.
"""

from functools import partial

import uvloop

from benchmarks.consumer.runs import compare, run_consumer
from benchmarks.consumer.site import Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Options, Results

SETTING = "FRAMEMATCH_CONSUMER__DELIVERY"


def measure(site: Site, options: Options) -> Results:
    """The ratio of both rates."""
    kafka, frames = site.new_topics(), site.frames_for(options)
    uvloop.run(publish_all(kafka, frame_records(kafka, site.jpegs, frames)))
    sides = {
        delivery: partial(run_consumer, site, kafka, frames, **{SETTING: delivery})
        for delivery in ("exactly_once", "at_least_once")
    }
    return compare("exactly_once_vs_at_least_once", sides, options)
