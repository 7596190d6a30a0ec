"""How many match events a second one archive stores: `python -m benchmarks.archive`.

Starts Kafka and a server with MongoDB's protocol (or takes the one at `--mongodb`), publishes events, and measures the
time until `framematch archive` has stored and committed them all, without its start.
"""

import argparse
import asyncio
import os
import time
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from benchmarks.processes import group_cpu_s, group_pss_mb, running_framematch
from framematch.catalog.mongo import connect
from framematch.core.events import (
    MATCH_SCHEMA,
    CandidateInfo,
    MatchEvent,
    ModelInfo,
    ProductInfo,
    encode,
    frame_reference,
)
from framematch.core.frames import Frame
from framematch.core.ids import match_event_id
from framematch.core.kafka.clients import client_options, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from framematch.stack.mongodb import MongoServer

_PREFIX = "archive"
_DATABASE = "archive-benchmark"
_WARM_UP = 1_000
_CAMERAS = 200
_AT_US = 1_767_225_600_000_000


def event(number: int) -> MatchEvent:
    """An event of one of the cameras, of the usual size."""
    camera = f"till-{number % _CAMERAS}"
    frame = frame_reference(Frame(camera, _AT_US + number * 1_000, number), f"{_PREFIX}.frames", 0, number)
    names = [f"product-{number % 500 + place}" for place in range(5)]
    return MatchEvent(
        schema="match.v1",
        id=match_event_id(frame.id, (0, 0, 640, 360), MATCH_SCHEMA),
        frame=frame,
        region=(0, 0, 640, 360),
        decision="match",
        score=0.9,
        margin=0.125,
        threshold=0.5,
        product=ProductInfo(
            names[0], names[0].title(), "Milk", Decimal("1.5"), "Whole milk, 1 l, from the region. " * 5
        ),
        candidates=tuple(CandidateInfo(name, 0.9) for name in names),
        snapshot="20260101-000000-abcdef",
        model=ModelInfo("demo", "00ff" * 16),
        metadata_state="fresh",
        timings_ms={"wait": 1.0, "decode": 2.0, "batch": 3.0, "infer": 4.0, "search": 0.5, "enrich": 0.25, "age": 80.0},
    )


async def publish(kafka: KafkaSettings, numbers: range) -> None:
    """Publish the events with these numbers."""
    topic = Topics(_PREFIX).matches
    async with started(new_producer(kafka), kafka) as producer:
        for first in range(numbers.start, numbers.stop, 2_000):
            batch = [event(number) for number in range(first, min(first + 2_000, numbers.stop))]
            sending = [await producer.send(topic, encode(one), key=one.frame.camera.encode()) for one in batch]
            await asyncio.gather(*sending)


async def committed(kafka: KafkaSettings, number: int) -> None:
    """Wait until the archive has committed so many events."""
    async with started(AIOKafkaAdminClient(**client_options(kafka)), kafka) as admin:
        while True:
            with suppress(KafkaError):  # the first group makes Kafka create the topic of offsets
                offsets = await admin.list_consumer_group_offsets("framematch-archive")
                if sum(max(0, found.offset) for found in offsets.values()) >= number:
                    return
            await asyncio.sleep(0.1)


async def measure(kafka: KafkaSettings, uri: str, events: int, folder: Path) -> None:
    """Publish, archive, and print the figures."""
    await ensure_topics(kafka)
    await publish(kafka, range(_WARM_UP))
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers),
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": _PREFIX,
        "MONGODB_URI": uri,
        "FRAMEMATCH_MONGODB__DATABASE": _DATABASE,
    }
    with running_framematch("archive", environment=environment, log_file=folder / "log") as service:
        await committed(kafka, _WARM_UP)
        cpu_s, start_s = group_cpu_s(service.pid), time.perf_counter()
        publishing = asyncio.ensure_future(publish(kafka, range(_WARM_UP, _WARM_UP + events)))
        await committed(kafka, _WARM_UP + events)
        took_s, cpu_s = time.perf_counter() - start_s, group_cpu_s(service.pid) - cpu_s
        memory_mb = group_pss_mb(service.pid)
        await publishing
    async with await connect(uri) as client:
        stored = await client[_DATABASE].matches.count_documents({})
        await client.drop_database(_DATABASE)
    print(f"{events / took_s:,.0f} events/s of {len(encode(event(0)))} bytes; {stored:,} stored in {took_s:.1f} s")
    print(f"the archive: {cpu_s / events * 1e6:,.0f} µs of CPU time for each event, {memory_mb:,.0f} MB of memory")


def main() -> None:
    """Start what is not given, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description="Measure the archive.")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--mongodb", help="address of a MongoDB, in place of the local server")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name, ExitStack() as servers:
        folder = Path(name)
        kafka = KafkaServer(folder / "kafka")
        servers.callback(kafka.stop)
        kafka.start()
        uri = arguments.mongodb
        if uri is None:
            mongodb = MongoServer(folder / "mongodb")
            servers.callback(mongodb.stop)
            mongodb.start()
            uri = mongodb.uri
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=_PREFIX)
        asyncio.run(measure(settings, uri, arguments.events, folder))


if __name__ == "__main__":
    main()
