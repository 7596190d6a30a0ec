"""The edge's publish rate beside a bare confluent-kafka producer, in turns.

Both send the same records with the same guarantees to a new topic: keys, JPEGs and header bytes, all in memory before.
The edge writes its headers while the clock runs, the bare producer has them ready. A run sends some frames to warm up;
then time and CPU time of this process count from the first frame to the last acknowledgement.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.edge.outbox import open_outboxes
from benchmarks.edge.site import Site
from benchmarks.frames import camera_names, draw_jpegs, frames_of
from benchmarks.harness import Figure, Options, Results, take_turns
from edge.sinks import Outgoing
from framematch.core.errors import FramematchError
from framematch.core.frames import frame_headers
from framematch.core.kafka.clients import client_options, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us
from framematch.core.units import MS_PER_S, US_PER_MS

GOAL = 0.9
CAMERAS = 8
_JPEGS, _JPEG_QUALITY = 240, 92
_WARM_UP_FRAMES = 240
_MIN_ROUNDS = 7  # a producer's rate varies more than CPU time
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

Spent = tuple[float, float]
"""Seconds, and CPU seconds of this process."""


def make_frames(frames: int) -> list[Outgoing]:
    """`frames` frames of 8 cameras in turn, with JPEGs of about 50 KB that repeat."""
    jpegs = draw_jpegs(_JPEGS, quality=_JPEG_QUALITY)
    named = frames_of(camera_names(CAMERAS, KafkaSettings().partitions), frames, until_us=now_us())
    return [Outgoing(frame, jpegs[number % len(jpegs)], time.monotonic()) for number, frame in enumerate(named)]


def measure(site: Site, options: Options) -> Results:
    """Frames a second of both sides, and the CPU time of a frame."""
    counted = 2_000 if options.quick else 15_000
    frames = make_frames(_WARM_UP_FRAMES + counted)
    gc.collect()
    gc.freeze()  # no side pays for scanning frames that stay
    sides: dict[str, Callable[[KafkaSettings], Spent]] = {
        "edge": lambda kafka: uvloop.run(_run_edge(kafka, frames, site.folder / kafka.topic_prefix)),
        "confluent": lambda kafka: _run_confluent(kafka, frames),
    }
    cpu_ms: dict[str, list[float]] = {name: [] for name in sides}

    def rate(side: str) -> float:
        kafka = site.new_topics()
        asyncio.run(ensure_topics(kafka))
        try:
            elapsed_s, cpu_s = sides[side](kafka)
        finally:
            asyncio.run(_delete_topics(kafka))
        cpu_ms[side].append(MS_PER_S * cpu_s / counted)
        return counted / elapsed_s

    for side, values in cpu_ms.items():
        rate(side)  # warms the broker up
        values.clear()
    rounds = max(options.rounds, _MIN_ROUNDS)
    rates = take_turns("publish", {name: partial(rate, name) for name in sides}, rounds=rounds)
    found = Results(
        figures={f"publish_cpu.{name}": Figure.of(values, "ms/frame") for name, values in cpu_ms.items()},
        at_least={"edge_vs_confluent": GOAL},
        settings={"frames": counted, "confluent": CONFLUENT},
    )
    found.compare("edge_vs_confluent", "edge", "confluent", rates)
    return found


async def _delete_topics(kafka: KafkaSettings) -> None:
    async with started(AIOKafkaAdminClient(**client_options(kafka)), kafka) as admin:
        await admin.delete_topics(list(Topics(kafka.topic_prefix).all))


def _clocks() -> Spent:
    return time.perf_counter(), time.process_time()


def _since(before: Spent) -> Spent:
    return time.perf_counter() - before[0], time.process_time() - before[1]


async def _run_edge(kafka: KafkaSettings, frames: Sequence[Outgoing], spool: Path) -> Spent:
    """With outboxes that wait for Kafka, as for files."""
    cameras = sorted({outgoing.frame.camera for outgoing in frames})
    async with open_outboxes(kafka, cameras, spool=spool, live=False) as boxes:
        coming = iter(frames)
        for outgoing in islice(coming, _WARM_UP_FRAMES):
            await boxes.put(outgoing)
        await boxes.acknowledged(_WARM_UP_FRAMES)
        before = _clocks()
        for outgoing in coming:
            await boxes.put(outgoing)
        await boxes.acknowledged(len(frames))
        return _since(before)


def _run_confluent(kafka: KafkaSettings, frames: Sequence[Outgoing]) -> Spent:
    """With a bare loop around librdkafka's producer."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **CONFLUENT})
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(error)

    records = [
        {
            "topic": Topics(kafka.topic_prefix).frames,
            "key": outgoing.frame.camera.encode(),
            "value": outgoing.jpeg,
            "headers": frame_headers(outgoing.frame),
            "timestamp": outgoing.frame.captured_at_us // US_PER_MS,
            "on_delivery": delivered,
        }
        for outgoing in frames
    ]
    _send(producer, records[:_WARM_UP_FRAMES])
    before = _clocks()
    _send(producer, records[_WARM_UP_FRAMES:])
    spent = _since(before)
    if refused:
        raise FramematchError(f"Kafka refused {len(refused)} frames: {refused[0]}")
    return spent


def _send(producer: Producer, records: Sequence[dict[str, Any]]) -> None:
    """Produce all; while the queue is full, wait until something is acknowledged."""
    produce: Callable[..., None] = producer.produce
    for record in records:
        while True:
            try:
                produce(**record)
                break
            except BufferError:
                producer.poll(_QUEUE_FULL_S)
        producer.poll(0)
    if left := producer.flush(_FLUSH_S):
        raise FramematchError(f"{left} frames were not acknowledged within {_FLUSH_S:g} s")
