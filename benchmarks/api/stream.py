"""How many events a second 1 and 100 clients of the event stream get, and the memory of each: real Kafka, real HTTP.

Events are published as fast as one producer can; all processes share the machine. `stream.N.delivered` counts each
event once for each client that got it.
"""

import asyncio
import time

import aiohttp

from benchmarks.api.site import Site
from benchmarks.archive import event
from benchmarks.harness import Figure, Options, Results
from benchmarks.processes import group_cpu_s, group_pss_mb
from framematch.core.events import encode
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.units import BYTES_PER_KB, BYTES_PER_MB

_CLIENTS = (1, 100)
_EVENTS, _QUICK_EVENTS = 10_000, 1_000
_BATCH = 500
_MARK = b"event: match\n"


async def _create_topics(site: Site) -> None:
    await ensure_topics(site.kafka)


async def _publish(kafka: KafkaSettings, count: int) -> None:
    topic = Topics(kafka.topic_prefix).matches
    records = [(encode(one), one.frame.camera.encode()) for one in map(event, range(count))]
    async with started(new_producer(kafka), kafka) as producer:
        for first in range(0, count, _BATCH):
            batch = records[first : first + _BATCH]
            await asyncio.gather(*[await producer.send(topic, value, key=key) for value, key in batch])


async def _take(session: aiohttp.ClientSession, url: str, count: int, ready: asyncio.Semaphore) -> None:
    """Read until so many events have come; counts, and does not parse, so that the client takes little CPU."""
    async with session.get(f"{url}/v1/events/stream?types=match") as answer:
        answer.raise_for_status()
        left = await answer.content.readany()
        ready.release()
        while count > 0:
            data = left + await answer.content.readany()
            count -= data.count(_MARK)
            left = data[-len(_MARK) + 1 :]


async def _round(site: Site, clients: int, count: int) -> dict[str, float]:
    ready = asyncio.Semaphore(0)
    idle_mb = group_pss_mb(site.api.pid)
    timeout, connector = aiohttp.ClientTimeout(total=None, sock_read=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        taking = [asyncio.ensure_future(_take(session, site.api.url, count, ready)) for _ in range(clients)]
        for _ in range(clients):
            await ready.acquire()
        memory_mb = group_pss_mb(site.api.pid) - idle_mb
        cpu_s, start_s = group_cpu_s(site.api.pid), time.perf_counter()
        publishing = asyncio.ensure_future(_publish(site.kafka, count))
        await asyncio.gather(*taking)
        took_s, cpu_s = time.perf_counter() - start_s, group_cpu_s(site.api.pid) - cpu_s
        await publishing
    return {
        "events": count / took_s,
        "delivered": clients * count / took_s,
        "cpu": cpu_s / count / clients * 1e6,
        "memory": memory_mb * BYTES_PER_MB / clients / BYTES_PER_KB,
    }


_UNITS = {"events": "events/s", "delivered": "events/s", "cpu": "µs for an event and client", "memory": "kB a client"}


def measure(site: Site, options: Options) -> Results:
    """The figures of this part."""
    results = Results()
    count = _QUICK_EVENTS if options.quick else _EVENTS
    asyncio.run(_create_topics(site))
    asyncio.run(_round(site, 1, count))  # warms up: the ring is then full of events, as in a service that runs
    for clients in _CLIENTS:
        rounds = [asyncio.run(_round(site, clients, count)) for _ in range(options.rounds)]
        for name, unit in _UNITS.items():
            if name != "memory" or clients > 1:
                results.figures[f"stream.{clients}.{name}"] = Figure.of([one[name] for one in rounds], unit)
    results.settings = {"events": count, "event_bytes": len(encode(event(0)))}
    return results
