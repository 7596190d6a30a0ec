"""Fills the frames topic as edge producers would: the demo's pictures as JPEGs, each camera in its own partition."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from aiokafka.partitioner import DefaultPartitioner
from numpy.typing import NDArray

from consumers.stages.decode import read_jpeg
from demo.dataset import load_photos
from demo.feed import draw_frames
from demo.schedule import make_schedule
from edge.worker.encode import encode_jpeg, scale_down
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import EdgeSettings, KafkaSettings
from framematch.core.timestamps import now_us
from framematch.vision.preprocess import Preprocessor

FPS = 5  # as the edge sends by default
_US_PER_MS, _US_PER_S = 1_000, 1_000_000
_UNACKNOWLEDGED = 256
_MAX_PIXELS = 1_000_000


def draw_jpegs(pictures: int) -> list[bytes]:
    """Different pictures of 640 x 360 as the edge encodes them by default, about 30 KB each."""
    edge = EdgeSettings()
    schedule = make_schedule(load_photos(), camera=1, seconds=pictures / FPS, fps=FPS)
    return [
        encode_jpeg(scale_down(picture, edge.max_side), quality=edge.jpeg_quality) for picture in draw_frames(schedule)
    ]


def camera_names(cameras: int, partitions: int) -> list[str]:
    """Names whose records go to different partitions, by the producer's own partitioner.

    Raises:
        ValueError: there are more cameras than partitions.
    """
    if cameras > partitions:
        raise ValueError(f"{cameras} cameras cannot have one of {partitions} partitions each")
    everywhere = list(range(partitions))
    taken: dict[int, str] = {}
    for number in count(1):
        name = f"till-{number}"
        taken.setdefault(DefaultPartitioner()(name.encode(), everywhere, everywhere), name)
        if len(taken) == cameras:
            break
    return sorted(taken.values())


@dataclass(frozen=True)
class Record:
    """One record of the frames topic."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


def records_of(jpegs: Sequence[bytes], cameras: Sequence[str], frames: int) -> Iterator[Record]:
    """`frames` frames of all cameras in turn, taken up to now; the pictures come again and again."""
    for number, frame in enumerate(frames_of(cameras, frames, until_us=now_us())):
        yield Record(
            frame.camera.encode(),
            jpegs[number % len(jpegs)],
            frame_headers(frame),
            frame.captured_at_us // _US_PER_MS,
        )


async def prefill(kafka: KafkaSettings, jpegs: Sequence[bytes], *, frames: int, cameras: int) -> None:
    """Create the topics and publish `frames` frames, of all cameras in turn; all are acknowledged at the end."""
    await ensure_topics(kafka)
    await publish_all(kafka, records_of(jpegs, camera_names(cameras, kafka.partitions), frames))


async def publish_all(kafka: KafkaSettings, records: Iterable[Record]) -> None:
    """Publish these to the frames topic; all are acknowledged at the end."""
    topic = Topics(kafka.topic_prefix).frames
    remaining = iter(records)
    async with started(new_producer(kafka), kafka) as producer:
        while chunk := list(islice(remaining, _UNACKNOWLEDGED)):
            sent = [
                await producer.send(
                    topic, record.value, key=record.key, headers=record.headers, timestamp_ms=record.timestamp_ms
                )
                for record in chunk
            ]
            await asyncio.gather(*sent)


def crop_batches(jpegs: Sequence[bytes], preprocessor: Preprocessor, *, batch_size: int) -> list[NDArray[np.uint8]]:
    """The same pictures as the consumer would send them to the model: full batches, uint8 [batch_size, H, W, 3]."""
    crops = [preprocessor(read_jpeg(jpeg, max_pixels=_MAX_PIXELS).decode()) for jpeg in jpegs]
    return [np.stack(crops[first : first + batch_size]) for first in range(0, len(crops) - batch_size + 1, batch_size)]


def frames_of(cameras: Sequence[str], frames: int, *, until_us: int) -> Iterator[Frame]:
    """`frames` frames that all cameras took at the same times, the last of them before `until_us`."""
    began_us = until_us - frames * _US_PER_S // (len(cameras) * FPS)
    for number in range(frames):
        sequence, camera = divmod(number, len(cameras))
        yield Frame(cameras[camera], began_us + sequence * _US_PER_S // FPS, sequence)
