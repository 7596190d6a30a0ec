"""What bad records cost: the consumer over a topic in which one record in a hundred is bad, against a clean one.

Both topics have the same good frames, and the rate is that of the good ones: a poisoned run has its bad records on top.
Each must become a dead letter.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import uvloop

from benchmarks.consumer.runs import Consumers, Run, compare, observe, run_consumer, running_consumers
from benchmarks.consumer.site import Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Options, Results
from benchmarks.kafka import reading
from framematch.core.errors import FramematchError
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings

GOAL = 0.97
GOOD_PER_BAD = 99
_DIMENSIONS_AFTER = b"\xff\xc0\x00\x11\x08"  # the JPEG's frame header, before height and width
_HUGE = b"\xff\xff\xff\xff"  # 65,535 x 65,535 pixels
_POLL_S, _DEADLINE_S = 0.1, 10.0


def measure(site: Site, options: Options) -> Results:
    """The ratio of both rates."""
    frames = site.frames_for(options)
    clean, poisoned = site.new_topics(), site.new_topics()
    uvloop.run(publish_all(clean, frame_records(clean, site.jpegs, frames)))
    uvloop.run(publish_all(poisoned, with_poison(list(frame_records(poisoned, site.jpegs, frames)))))
    sides = {
        "poison": partial(_run_poisoned, site, poisoned, frames, frames // GOOD_PER_BAD),
        "clean": partial(run_consumer, site, clean, frames),
    }
    return compare("poison_vs_clean", sides, options, at_least=GOAL)


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
    async with reading(kafka, Topics(kafka.topic_prefix).matches) as matches:
        with running_consumers(site.environment(kafka), site.folder) as consumers:
            run = await observe(matches, consumers, frames)
            await _wait_dead_letters(consumers, bad)
            consumers.stop()
            return run


async def _wait_dead_letters(consumers: Consumers, bad: int) -> None:
    """The last dead letter may come after the last event."""
    dead = 0.0
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while dead < bad:
                await asyncio.sleep(_POLL_S)
                dead = await asyncio.to_thread(consumers.total, "frames_total", outcome="deadletter")
    except TimeoutError:
        raise FramematchError(f"{bad} bad records became {dead:.0f} dead letters") from None
