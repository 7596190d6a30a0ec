"""Fills the frames topic as an edge would: the demo's pictures as JPEGs, each camera in its own partition."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice

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
    """Names that the producer's partitioner sends to different partitions."""
    if cameras > partitions:
        raise ValueError(f"{cameras} cameras cannot have one of {partitions} partitions each")
    numbers = list(range(partitions))
    found: dict[int, str] = {}
    for number in count(1):
        name = f"till-{number}"
        found.setdefault(DefaultPartitioner()(name.encode(), numbers, numbers), name)
        if len(found) == cameras:
            break
    return sorted(found.values())


def frames_of(cameras: Sequence[str], frames: int, *, until_us: int) -> Iterator[Frame]:
    """`frames` frames that all cameras took at the same times, the last of them before `until_us`."""
    start_us = until_us - frames * US_PER_S // (len(cameras) * FPS)
    for number in range(frames):
        sequence, camera = divmod(number, len(cameras))
        yield Frame(cameras[camera], start_us + sequence * US_PER_S // FPS, sequence)


def frame_records(kafka: KafkaSettings, jpegs: Sequence[bytes], frames: int) -> Iterator[ProducerRecord]:
    """`frames` frames up to now, from one camera for each partition in turn; pictures repeat."""
    topic, cameras = Topics(kafka.topic_prefix).frames, camera_names(kafka.partitions, kafka.partitions)
    for number, frame in enumerate(frames_of(cameras, frames, until_us=now_us())):
        yield ProducerRecord(
            topic=topic,
            key=frame.camera.encode(),
            value=jpegs[number % len(jpegs)],
            headers=frame_headers(frame),
            timestamp_ms=frame.captured_at_us // US_PER_MS,
        )


async def publish_all(kafka: KafkaSettings, records: Iterable[ProducerRecord]) -> None:
    """Create the topics that are missing and publish the records; returns when all are acknowledged."""
    await ensure_topics(kafka)
    remaining = iter(records)
    async with started(new_producer(kafka), kafka) as producer:
        while chunk := list(islice(remaining, _MAX_UNACKNOWLEDGED)):
            sent = [
                await producer.send(
                    record.topic, record.value, key=record.key, headers=record.headers, timestamp_ms=record.timestamp_ms
                )
                for record in chunk
            ]
            await asyncio.gather(*sent)
