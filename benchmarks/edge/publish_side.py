"""One side of the publish comparison, in a process of its own: `python -m benchmarks.edge.publish_side SIDE ...`.

It connects, sends frames to warm up, prints `ready`, waits for a line on stdin, publishes, and prints the seconds until
the last acknowledgement and the CPU seconds of its process. Everything that a side sends is in memory before: the same
records, keys, JPEGs and header bytes. The edge writes its headers while the clock runs, the others have theirs ready.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.edge.outbox import open_outboxes
from benchmarks.frames import camera_names, frames_of
from edge.outgoing import Outgoing
from framematch.core.errors import FramematchError
from framematch.core.frames import frame_headers
from framematch.core.kafka.topics import Topics
from framematch.core.logging import configure_logging
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us
from framematch.core.units import US_PER_MS

WARM_UP_FRAMES = 240
_FLUSH_S = 60.0
_QUEUE_FULL_S = 1.0

_SAME_GUARANTEES = {"acks": "all", "enable.idempotence": True, "partitioner": "murmur2_random"}
CONFLUENT: dict[str, dict[str, Any]] = {
    "confluent": {
        **_SAME_GUARANTEES,
        "linger.ms": 5,
        "batch.size": 1_000_000,
        "message.max.bytes": 4_194_304,
        "queue.buffering.max.kbytes": 65_536,
        "queue.buffering.max.messages": 100_000,
        "socket.nagle.disable": True,
    },
    "confluent_defaults": _SAME_GUARANTEES,
}
"""librdkafka's settings by side; its CONFIGURATION.md has the defaults of all others."""

SIDES = ("edge", *CONFLUENT)


@dataclass(frozen=True)
class Spent:
    """Wall-clock time, and CPU time of all threads of this process."""

    elapsed_s: float
    cpu_s: float


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> Spent:
        """What was spent so far."""
        return Spent(time.perf_counter() - self._started[0], time.process_time() - self._started[1])


def main(side: str, *arguments: str) -> None:
    """Run one side with the other arguments of the command line."""
    bootstrap_servers, topic_prefix, jpegs, frames, cameras = arguments
    configure_logging("warning", "json", service="benchmark")
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix)
    coming = make_frames(kafka, Path(jpegs), frames=WARM_UP_FRAMES + int(frames), cameras=int(cameras))
    spent = uvloop.run(run_edge(kafka, coming)) if side == "edge" else run_confluent(kafka, coming, CONFLUENT[side])
    print(spent.elapsed_s, spent.cpu_s, flush=True)


def make_frames(kafka: KafkaSettings, folder: Path, *, frames: int, cameras: int) -> list[Outgoing]:
    """`frames` frames of all cameras in turn; the pictures in `folder` repeat."""
    jpegs = [path.read_bytes() for path in sorted(folder.iterdir())]
    named = frames_of(camera_names(cameras, kafka.partitions), frames, until_us=now_us())
    return [Outgoing(frame, jpegs[number % len(jpegs)], time.monotonic()) for number, frame in enumerate(named)]


def wait_for_start() -> None:
    """Print that this side is ready, and wait for a line on stdin."""
    gc.collect()
    gc.freeze()  # no side pays for scanning the frames that stay
    print("ready", flush=True)
    sys.stdin.readline()


async def run_edge(kafka: KafkaSettings, frames: Sequence[Outgoing]) -> Spent:
    """From the first frame to the last acknowledgement, with outboxes that wait for Kafka, as for files."""
    cameras = sorted({outgoing.frame.camera for outgoing in frames})
    with tempfile.TemporaryDirectory() as spool:
        async with open_outboxes(kafka, cameras, spool=Path(spool), live=False) as boxes:
            coming = iter(frames)
            for outgoing in islice(coming, WARM_UP_FRAMES):
                await boxes.put(outgoing)
            await boxes.acknowledged(WARM_UP_FRAMES)
            await asyncio.to_thread(wait_for_start)
            watch = Stopwatch()
            for outgoing in coming:
                await boxes.put(outgoing)
            await boxes.acknowledged(len(frames))
            return watch.stop()


def run_confluent(kafka: KafkaSettings, frames: Sequence[Outgoing], options: dict[str, Any]) -> Spent:
    """From the first frame to the last acknowledgement, with a bare loop around librdkafka's producer."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **options})
    topic = Topics(kafka.topic_prefix).frames
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(error)

    records = [
        {
            "key": outgoing.frame.camera.encode(),
            "value": outgoing.jpeg,
            "headers": frame_headers(outgoing.frame),
            "timestamp": outgoing.frame.captured_at_us // US_PER_MS,
            "on_delivery": delivered,
        }
        for outgoing in frames
    ]
    _send(producer, topic, records[:WARM_UP_FRAMES])
    wait_for_start()
    watch = Stopwatch()
    _send(producer, topic, records[WARM_UP_FRAMES:])
    spent = watch.stop()
    if refused:
        raise FramematchError(f"Kafka refused {len(refused)} frames: {refused[0]}")
    return spent


def _send(producer: Producer, topic: str, records: Sequence[dict[str, Any]]) -> None:
    """Produce all; where the queue is full, sleep in librdkafka until something was acknowledged, and go on."""
    produce: Callable[..., None] = producer.produce
    for record in records:
        while True:
            try:
                produce(topic, **record)
                break
            except BufferError:
                producer.poll(_QUEUE_FULL_S)
        producer.poll(0)
    if left := producer.flush(_FLUSH_S):
        raise FramematchError(f"{left} frames were not acknowledged within {_FLUSH_S:g} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
