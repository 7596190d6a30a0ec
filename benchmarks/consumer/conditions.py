"""What exactly-once delivery, a stopped MongoDB and bad records cost: the consumer under a condition and without it."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import uvloop

from benchmarks.consumer.runs import Run, compare, run_consumer, running_consumer
from benchmarks.consumer.site import Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Options, Results
from framematch.core.errors import FramematchError
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings

DELIVERY = "FRAMEMATCH_CONSUMER__DELIVERY"
MONGODB_GOAL, POISON_GOAL = 0.95, 0.97
GOOD_PER_BAD = 99
_METADATA_TTL_S = 0.5
_DIMENSIONS_AFTER = b"\xff\xc0\x00\x11\x08"  # the JPEG's frame header, before height and width
_HUGE = b"\xff\xff\xff\xff"  # 65,535 x 65,535 pixels
_POLL_S, _DEADLINE_S = 0.1, 10.0


def measure_delivery(site: Site, options: Options) -> Results:
    """The consumer with `delivery: exactly_once` against at least once, its default, over the same prefilled topic.

    A frame is done when its match event goes to the producer, in a transaction a moment before its commit. Only
    committed events are read.
    """
    kafka, frames = site.kafka.new_topics(), site.frames_for(options)
    uvloop.run(publish_all(kafka, frame_records(kafka, site.jpegs, frames)))
    sides = {
        delivery: partial(run_consumer, site, kafka, frames, {DELIVERY: delivery})
        for delivery in ("exactly_once", "at_least_once")
    }
    return compare("exactly_once_vs_at_least_once", sides, options)


def measure_mongodb(site: Site, options: Options) -> Results:
    """The consumer after MongoDB was killed, against one with MongoDB running.

    Both start with MongoDB and process frames of every product, so that all metadata is in memory. Then both process a
    full topic. Metadata expires after half a second, so one side reads it again all the time, and the other finds it
    expired and cannot read it.
    """
    run = partial(_run_after_start, site, site.frames_for(options))
    sides = {"stopped": partial(run, stopped=True), "running": partial(run, stopped=False)}
    return compare("mongodb_stopped_vs_running", sides, options, at_least=MONGODB_GOAL)


async def _run_after_start(site: Site, frames: int, *, stopped: bool) -> Run:
    ttl = {"FRAMEMATCH_MATCHING__METADATA_TTL_S": str(_METADATA_TTL_S)}
    async with running_consumer(site, site.kafka.new_topics(), ttl, warm=True) as consumer:
        if stopped:
            site.mongodb.kill()
        try:
            run = await consumer.backlog(frames)
        finally:
            if stopped:
                site.mongodb.start()
    states = Counter(event.metadata_state for event in run.events if event.product)
    if states["missing"] or stopped != (states["cached"] > states["fresh"]):
        raise FramematchError(f"metadata with MongoDB {'stopped' if stopped else 'running'}: {dict(states)}")
    return run


def measure_poison(site: Site, options: Options) -> Results:
    """The consumer over a topic in which one record in a hundred is bad, against a clean one.

    Both topics have the same good frames, and the rate is that of the good ones. Each bad record must become a dead
    letter.
    """
    frames = site.frames_for(options)
    clean, poisoned = site.kafka.new_topics(), site.kafka.new_topics()
    uvloop.run(publish_all(clean, frame_records(clean, site.jpegs, frames)))
    uvloop.run(publish_all(poisoned, with_poison(list(frame_records(poisoned, site.jpegs, frames)))))
    sides = {
        "poison": partial(_run_poisoned, site, poisoned, frames, frames // GOOD_PER_BAD),
        "clean": partial(run_consumer, site, clean, frames),
    }
    return compare("poison_vs_clean", sides, options, at_least=POISON_GOAL)


def with_poison(good: Sequence[ProducerRecord]) -> Iterator[ProducerRecord]:
    """A bad record after every 99 good ones, of every kind in turn; it has the key of the one before."""
    for number, record in enumerate(good, 1):
        yield record
        if number % GOOD_PER_BAD == 0:
            jpeg = record.value or b""
            before, header, after = jpeg.partition(_DIMENSIONS_AFTER)
            kinds = (
                replace(record, value=jpeg[: len(jpeg) // 2]),
                replace(record, value=bytes(reversed(jpeg))),
                replace(record, value=before + header + _HUGE + after[len(_HUGE) :]),
                replace(record, headers=()),
            )
            yield kinds[(number // GOOD_PER_BAD - 1) % len(kinds)]


async def _run_poisoned(site: Site, kafka: KafkaSettings, frames: int, bad: int) -> Run:
    async with running_consumer(site, kafka) as consumer:
        run = await consumer.observe(frames)
        dead_letters = partial(consumer.service.metric, "framematch_consumer_frames_total", outcome="deadletter")
        dead = 0.0
        try:
            async with asyncio.timeout(_DEADLINE_S):  # the last dead letter may come after the last event
                while dead < bad:
                    await asyncio.sleep(_POLL_S)
                    dead = sum(await asyncio.to_thread(dead_letters))
        except TimeoutError:
            raise FramematchError(f"{bad} bad records became {dead:.0f} dead letters") from None
        return run
