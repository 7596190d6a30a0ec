"""The frames of the demo's feeds as the consumer gets them, each with what the model makes of it and the truth."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from consumers.stages.decode import read_jpeg
from consumers.stages.still import Signature, signature_of
from demo.dataset import load_photos
from demo.feed import render_feed
from demo.schedule import FeedSchedule, View, make_schedule
from edge.worker.encode import encode_jpeg, scale_down
from framematch.core.settings import ConsumerSettings, EdgeSettings
from framematch.matching.decision import Decision
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor

_US_PER_S = 1_000_000


@dataclass(frozen=True)
class SeenFrame:
    """One frame, with its own decision. `product` is in full view; None in a gap, or when it is `moving`."""

    camera: int
    at_us: int
    signature: Signature
    decision: Decision
    product: str | None
    moving: bool


@dataclass(frozen=True)
class _Sampled:
    schedule: FeedSchedule
    index: int
    crop: NDArray[np.uint8]


async def see_feeds(
    cameras: Sequence[int], seconds: float, *, encoder: ImageEncoder, matcher: Matcher
) -> list[SeenFrame]:
    """All frames of the feeds of `cameras` at the edge's default rate, each through the model and the index."""
    schedules = [make_schedule(load_photos(), camera=camera, seconds=seconds) for camera in cameras]
    preprocessor = Preprocessor(encoder.manifest.preprocess, matcher.manifest.preprocessing_variant)
    with ThreadPoolExecutor() as pool:
        sampled = [
            frame for frames in pool.map(lambda s: list(_sample(s, preprocessor)), schedules) for frame in frames
        ]
    step = encoder.manifest.max_batch_size
    found: list[SeenFrame] = []
    for first in range(0, len(sampled), step):
        batch = sampled[first : first + step]
        decisions = matcher.match(await encoder.embed(np.stack([frame.crop for frame in batch])))
        found += map(_seen, batch, decisions)
    return found


def _sample(schedule: FeedSchedule, preprocessor: Preprocessor) -> Iterator[_Sampled]:
    edge, consumer = EdgeSettings(), ConsumerSettings()
    every = round(schedule.fps / edge.fps)
    with av.open(str(render_feed(schedule))) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % every == 0:
                picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                jpeg = encode_jpeg(scale_down(picture, edge.max_side), quality=edge.jpeg_quality)
                header = read_jpeg(jpeg, max_pixels=consumer.max_pixels)
                decoded = header.decode(preprocessor.reduction(header.height, header.width))
                yield _Sampled(schedule, index, preprocessor(decoded))


def _seen(frame: _Sampled, decision: Decision) -> SeenFrame:
    schedule, index = frame.schedule, frame.index
    return SeenFrame(
        camera=schedule.camera,
        at_us=index * _US_PER_S // schedule.fps,
        signature=signature_of(frame.crop),
        decision=decision,
        product=schedule.truth(index),
        moving=schedule.view(index) is View.MOVING,
    )
