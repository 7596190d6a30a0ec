"""Swaps of the snapshot under load: are events lost or mixed, does anything wait, and how long until all serve it?

Three consumers of one group process the frames of twelve cameras, while one of two snapshots after the other is
activated, each when all serve the one before. The snapshots have no product in common, so an event that mixes them is
noticed. `swap_worst_stall_batches` is how much later the latest event of a round with swaps was published after its
capture than the latest of an equally long round without, in times of a full batch; below 0 it is the noise of the
machine. `swap.activate_to_last` is the time from the activation to the last consumer that serves it, with the default
interval of polls.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import cycle

import uvloop

from benchmarks.consumer.site import BATCH_SIZE, Site
from benchmarks.consumer.traffic import Traffic, publish, receive, wait_for_events
from benchmarks.harness import Figure, Options, Results
from benchmarks.kafka import reading
from benchmarks.processes import running_framematch
from benchmarks.snapshots import SnapshotProducts, active_products, copy_active, mixed_events
from demo.services import Service
from framematch.catalog.mongo import Database, connect
from framematch.catalog.operations.activation import activate
from framematch.catalog.snapshots.serving_status import read_statuses, served_by
from framematch.core.kafka.topics import ensure_topics
from framematch.core.settings import KafkaSettings, MongoSettings, SnapshotSettings
from framematch.core.units import MS_PER_S

_CONSUMERS = 3
_SWAPS, _QUICK_SWAPS = 1_000, 60  # of all consumers
_ACTIVATIONS_BY_DEFAULT = 10
_LOAD = 0.35  # of what a bare Triton client reaches
_MAX_FRAMES_PER_S = 60.0
_FAST_POLL_S = 0.1
_LOOK_S = 0.02
_DEADLINE_S = 60.0
_PROBE_BATCHES = 6
STALL_GOAL = 1.0


def measure(site: Site, options: Options) -> Results:
    """Many swaps in turns with none, then a few with the default settings."""
    return uvloop.run(_measure(site, options))


async def _measure(site: Site, options: Options) -> Results:
    bare = await site.bare_rate(_PROBE_BATCHES)
    frames_per_s, batch_ms = min(_LOAD * bare, _MAX_FRAMES_PER_S), MS_PER_S * BATCH_SIZE / bare
    results = Results(
        at_most={"swap_worst_stall_batches": STALL_GOAL}
        | {f"events_{what}_over_swaps": 0 for what in ("lost", "doubled", "mixed")},
        settings={"consumers": _CONSUMERS, "frames_per_s": round(frames_per_s, 1), "batch_ms": round(batch_ms, 1)},
    )
    async with _two_snapshots(site) as (database, snapshots):
        swaps = _QUICK_SWAPS if options.quick else _SWAPS
        activations = -(-swaps // _CONSUMERS // options.rounds)
        async with _under_load(site, database, snapshots, frames_per_s, _FAST_POLL_S) as (traffic, served):
            stalls = []
            for number in range(options.rounds):
                stalls.append(await _round(traffic, served, activations) / batch_ms)
                print(f"swap, round {number + 1} of {options.rounds}: {stalls[-1]:.2f} batches", flush=True)
        results.figures["swap_worst_stall_batches"] = Figure.of(stalls, "batches")
        results.figures["events_lost_over_swaps"] = Figure.of([traffic.lost], "events")
        results.figures["events_doubled_over_swaps"] = Figure.of([traffic.repeated], "events")
        results.figures["events_mixed_over_swaps"] = Figure.of([len(mixed_events(traffic.events, snapshots))], "events")
        results.figures["swap.swaps"] = Figure.of([activations * options.rounds * _CONSUMERS], "swaps")
        poll_s = SnapshotSettings().poll_s
        async with _under_load(site, database, snapshots, frames_per_s, poll_s) as (_, served):
            times_s = [await served() for _ in range(_ACTIVATIONS_BY_DEFAULT)]
        results.figures["swap.activate_to_last"] = Figure.of(times_s, "s")
    return results


async def _round(traffic: Traffic, served: "_Activate", activations: int) -> float:
    """How much worse the worst latency with swaps was than without, in milliseconds."""
    since_s = time.monotonic()
    for _ in range(activations):
        await served()
    worst_ms, took_s = traffic.worst_ms(since_s), time.monotonic() - since_s
    since_s = time.monotonic()
    await asyncio.sleep(took_s)
    return worst_ms - traffic.worst_ms(since_s)


class _Activate:
    """Each call activates the next snapshot, and returns how many seconds it took until all consumers served it."""

    def __init__(self, database: Database, snapshots: tuple[SnapshotProducts, ...]) -> None:
        self._database = database
        self._next = cycle(reversed(snapshots))

    async def __call__(self) -> float:
        snapshot, start_s = next(self._next), time.monotonic()
        await activate(self._database, snapshot.id)
        async with asyncio.timeout(_DEADLINE_S):
            served = 0
            while served < _CONSUMERS:
                await asyncio.sleep(_LOOK_S)
                served = served_by(await read_statuses(self._database), snapshot.id)
        return time.monotonic() - start_s


@asynccontextmanager
async def _two_snapshots(site: Site) -> AsyncIterator[tuple[Database, tuple[SnapshotProducts, ...]]]:
    cache = site.folder / "copies"
    async with await connect(site.mongodb.uri) as client:
        database = client[MongoSettings().database]
        first = await active_products(database, cache)
        yield database, (first, await copy_active(database, cache, f"copy-{uuid.uuid4().hex[:8]}"))
        await activate(database, first.id)


@asynccontextmanager
async def _under_load(
    site: Site, database: Database, snapshots: tuple[SnapshotProducts, ...], frames_per_s: float, poll_s: float
) -> AsyncIterator[tuple[Traffic, _Activate]]:
    """Three consumers under load. At the end every frame has had time to get its events."""
    await activate(database, snapshots[0].id)
    kafka, traffic, stop = site.kafka.new_topics(), Traffic(), asyncio.Event()
    await ensure_topics(kafka)
    with _consumers(site, kafka, poll_s) as consumers:
        async with reading(kafka, "matches") as matches, asyncio.TaskGroup() as group:
            receiving = group.create_task(receive(matches, traffic))
            publishing = group.create_task(publish(kafka, site.jpegs, frames_per_s, traffic, stop))
            await wait_for_events(traffic, consumers, round(frames_per_s))
            yield traffic, _Activate(database, snapshots)
            stop.set()
            await publishing
            await wait_for_events(traffic, consumers, len(traffic.frames))
            receiving.cancel()


@contextmanager
def _consumers(site: Site, kafka: KafkaSettings, poll_s: float) -> Iterator[list[Service]]:
    group = {"KAFKA_GROUP_ID": f"benchmark-{uuid.uuid4().hex[:8]}", "FRAMEMATCH_SNAPSHOTS__POLL_S": str(poll_s)}
    environment = site.environment(kafka) | group
    with ExitStack() as stack:
        services = [
            stack.enter_context(
                running_framematch("consume", environment=environment, log_file=site.folder / f"consume-{number}.log")
            )
            for number in range(_CONSUMERS)
        ]
        for service in services:
            service.wait_ready()
        yield services
