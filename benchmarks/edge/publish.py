"""The edge's publish rate beside a bare confluent-kafka producer, in turns.

Both send the same records with the same guarantees to a new topic: keys, JPEGs and header bytes, all in memory before.
The edge writes its headers while the clock runs, the bare producer has them ready. A run sends some frames to warm up;
then time counts from the first frame to the last acknowledgement.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import uvloop
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.edge.outbox import direct_rate, make_frames
from benchmarks.edge.site import Site
from benchmarks.frames import frame_record
from benchmarks.harness import Options, Results, take_turns
from edge.sinks import Outgoing
from framematch.core.errors import FramematchError
from framematch.core.kafka.clients import client_options, started
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings

GOAL = 0.9
_WARM_UP_FRAMES = 240
_FLUSH_S = 60.0
_QUEUE_FULL_S = 1.0

CONFLUENT: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "batch.size": 1_000_000,
    "message.max.bytes": 4_194_304,
    "queue.buffering.max.kbytes": 65_536,
    "socket.nagle.disable": True,
}
"""The bare producer's settings: the edge's guarantees, tuned for pictures."""


def measure(site: Site, options: Options) -> Results:
    """Frames a second of both sides."""
    frames = make_frames(_WARM_UP_FRAMES + (6_000 if options.quick else 15_000))
    gc.collect()
    gc.freeze()  # no side pays for scanning frames that stay

    def edge(kafka: KafkaSettings) -> float:
        spool = site.folder / kafka.topic_prefix
        return uvloop.run(direct_rate(kafka, frames, spool, warm_up=_WARM_UP_FRAMES))

    def confluent(kafka: KafkaSettings) -> float:
        return _confluent_rate(kafka, frames)

    sides = {side.__name__: partial(_in_new_topics, site, side) for side in (edge, confluent)}
    for rate in sides.values():
        rate()  # warms the broker up
    rates = take_turns("publish", sides, rounds=options.rounds)
    found = Results(at_least={"edge_vs_confluent": GOAL}, settings={"frames": len(frames), "confluent": CONFLUENT})
    found.compare("edge_vs_confluent", "edge", "confluent", rates)
    return found


def _in_new_topics(site: Site, rate: Callable[[KafkaSettings], float]) -> float:
    kafka = site.kafka.new_topics()
    asyncio.run(ensure_topics(kafka))
    try:
        return rate(kafka)
    finally:
        asyncio.run(_delete_topics(kafka))


async def _delete_topics(kafka: KafkaSettings) -> None:
    async with started(AIOKafkaAdminClient(**client_options(kafka)), kafka) as admin:
        await admin.delete_topics(list(Topics(kafka.topic_prefix).all))


def _confluent_rate(kafka: KafkaSettings, frames: Sequence[Outgoing]) -> float:
    """Frames a second of a bare loop around librdkafka's producer."""
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "on_delivery": delivered, **CONFLUENT})
    records = [frame_record(kafka, outgoing.frame, outgoing.jpeg) for outgoing in frames]
    _send(producer, records[:_WARM_UP_FRAMES])
    started_s = time.monotonic()
    _send(producer, records[_WARM_UP_FRAMES:])
    elapsed_s = time.monotonic() - started_s
    if failed:
        raise FramematchError(f"Kafka refused {len(failed)} frames: {failed[0]}")
    return (len(frames) - _WARM_UP_FRAMES) / elapsed_s


def _send(producer: Producer, records: Sequence[ProducerRecord]) -> None:
    """Produce all; while the queue is full, wait until something is acknowledged."""
    for record in records:
        timestamp_ms = record.timestamp_ms or 0
        headers: list[tuple[str, str | bytes | None]] = [*record.headers]
        while True:
            try:
                producer.produce(record.topic, record.value, record.key, timestamp=timestamp_ms, headers=headers)
                break
            except BufferError:
                producer.poll(_QUEUE_FULL_S)
        producer.poll(0)
    if left := producer.flush(_FLUSH_S):
        raise FramematchError(f"{left} frames were not acknowledged within {_FLUSH_S:g} s")
