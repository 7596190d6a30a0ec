"""What bad records cost: the consumer over a topic in which one record in a hundred is bad, against a clean one.

Both topics have the same good frames. The rate is that of the good ones, in events a second, so a poisoned run has to
get rid of its bad records beside them; each must have become a dead letter.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle

import uvloop

from benchmarks.consumer.bare import BareLoop, planned_batches
from benchmarks.consumer.matches import watching_matches
from benchmarks.consumer.plan import Plan
from benchmarks.consumer.processes import Consumers, running_consumers
from benchmarks.consumer.run import Run, observe, run_consumer
from benchmarks.consumer.site import Site
from benchmarks.consumer.two_sides import compare
from benchmarks.frames import Record, camera_names, publish_all, records_of
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.kafka.topics import ensure_topics
from framematch.core.settings import KafkaSettings

GOAL = 0.97
GOOD_PER_BAD = 99
_DIMENSIONS_AFTER = b"\xff\xc0\x00\x11\x08"  # the JPEG's frame header, before height and width
_HUGE = b"\xff\xff\xff\xff"
_POLL_S, _DEADLINE_S = 0.1, 10.0


def measure_poison(site: Site, plan: Plan) -> Results:
    """The ratio of both rates.

    Raises:
        FramematchError: a side failed, or bad records did not become dead letters.
    """
    frames = site.batch_size * uvloop.run(planned_batches(BareLoop.over(site), plan))
    clean, poisoned = site.new_topics(), site.new_topics()
    good = list(records_of(site.jpegs, camera_names(plan.cameras, clean.partitions), frames))
    bad = frames // GOOD_PER_BAD
    uvloop.run(_fill(clean, good))
    uvloop.run(_fill(poisoned, with_poison(good)))
    sides = {
        "poison": partial(_run_poisoned, site, poisoned, frames, bad),
        "clean": partial(run_consumer, site, clean, frames),
    }
    return compare("poison_vs_clean", sides, plan, at_least=GOAL)


def with_poison(good: Sequence[Record]) -> Iterator[Record]:
    """A bad record after every 99 good ones, of every kind in turn; it has the key of the one before."""
    kinds = cycle((_truncated, _no_jpeg, _huge, _no_headers))
    for number, record in enumerate(good, 1):
        yield record
        if number % GOOD_PER_BAD == 0:
            yield next(kinds)(record)


def _truncated(record: Record) -> Record:
    return replace(record, value=record.value[: len(record.value) // 2])


def _no_jpeg(record: Record) -> Record:
    return replace(record, value=bytes(reversed(record.value)))


def _huge(record: Record) -> Record:
    """It says that it is of 65,535 x 65,535 pixels."""
    before, header, after = record.value.partition(_DIMENSIONS_AFTER)
    return replace(record, value=before + header + _HUGE + after[len(_HUGE) :])


def _no_headers(record: Record) -> Record:
    return replace(record, headers=[])


async def _fill(kafka: KafkaSettings, records: Iterable[Record]) -> None:
    await ensure_topics(kafka)
    await publish_all(kafka, records)


async def _run_poisoned(site: Site, kafka: KafkaSettings, frames: int, bad: int) -> Run:
    async with watching_matches(kafka) as matches:
        with running_consumers(site.environment(kafka), site.folder) as consumers:
            run = await observe(site, matches, consumers, frames)
            await _until_dead(consumers, bad)
            consumers.stop()
            return run


async def _until_dead(consumers: Consumers, bad: int) -> None:
    """The last dead letter may come after the last event."""
    dead = 0.0
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while dead < bad:
                await asyncio.sleep(_POLL_S)
                dead = await asyncio.to_thread(consumers.total, "frames_total", outcome="deadletter")
    except TimeoutError:
        raise FramematchError(f"{bad} bad records gave {dead:.0f} dead letters") from None
