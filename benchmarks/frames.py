"""Fills the frames topic as an edge would: the demo's pictures as JPEGs, each camera in its own partition."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from itertools import count, cycle, islice

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from demo.dataset import load_photos
from demo.feed import draw_frames
from demo.schedule import make_schedule
from edge.worker.encode import encode_jpeg, scale_down
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import EdgeSettings, KafkaSettings
from framematch.core.timestamps import now_us
from framematch.core.units import US_PER_MS, US_PER_S

FPS = 5  # the edge's default
_MAX_UNACKNOWLEDGED = 256


def draw_jpegs(pictures: int, *, quality: int | None = None) -> list[bytes]:
    """Different pictures of 640 x 360: about 30 KB each with the edge's default quality, 51 KB with 92."""
    edge = EdgeSettings()
    schedule = make_schedule(load_photos(), camera=1, seconds=pictures / FPS, fps=FPS)
    return [
        encode_jpeg(scale_down(picture, edge.max_side), quality=quality or edge.jpeg_quality)
        for picture in draw_frames(schedule)
    ]


def camera_names(cameras: int, partitions: int) -> list[str]:
    """Names that the producer's partitioner sends to different partitions; there must be enough of these."""
    names = map("till-{}".format, count(1))
    found: dict[int, str] = {}
    while len(found) < cameras:
        name = next(names)
        found.setdefault(partition_of(name, partitions), name)
    return sorted(found.values())


def partition_of(camera: str, partitions: int) -> int:
    """The number of the partition that the producer's partitioner sends a camera's frames to."""
    numbers = list(range(partitions))
    number: int = DefaultPartitioner()(camera.encode(), numbers, numbers)
    return number


def frames_of(cameras: Sequence[str], frames: int, *, until_us: int) -> Iterator[Frame]:
    """`frames` frames that all cameras took at the same times, the last of them before `until_us`."""
    start_us = until_us - frames * US_PER_S // (len(cameras) * FPS)
    for number in range(frames):
        sequence, camera = divmod(number, len(cameras))
        yield Frame(cameras[camera], start_us + sequence * US_PER_S // FPS, sequence)


def frame_record(kafka: KafkaSettings, frame: Frame, jpeg: bytes) -> ProducerRecord:
    """The record of a frame."""
    return ProducerRecord(
        topic=Topics(kafka.topic_prefix).frames,
        key=frame.camera.encode(),
        value=jpeg,
        headers=frame_headers(frame),
        timestamp_ms=frame.captured_at_us // US_PER_MS,
    )


def frame_records(kafka: KafkaSettings, jpegs: Sequence[bytes], frames: int) -> Iterator[ProducerRecord]:
    """`frames` frames up to now, from one camera for each partition in turn; pictures repeat."""
    named = frames_of(camera_names(kafka.partitions, kafka.partitions), frames, until_us=now_us())
    return (frame_record(kafka, frame, jpeg) for frame, jpeg in zip(named, cycle(jpegs), strict=False))


async def send(producer: AIOKafkaProducer, record: ProducerRecord) -> Awaitable[object]:
    """Give a record to the producer; returns its acknowledgement."""
    acknowledged: Awaitable[object] = await producer.send(
        record.topic, record.value, key=record.key, headers=record.headers, timestamp_ms=record.timestamp_ms
    )
    return acknowledged


async def publish_all(kafka: KafkaSettings, records: Iterable[ProducerRecord]) -> None:
    """Create the topics that are missing and publish the records; returns when all are acknowledged."""
    await ensure_topics(kafka)
    remaining = iter(records)
    async with started(new_producer(kafka), kafka) as producer:
        while chunk := list(islice(remaining, _MAX_UNACKNOWLEDGED)):
            await asyncio.gather(*[await send(producer, record) for record in chunk])
