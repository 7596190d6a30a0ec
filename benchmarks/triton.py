"""The reference: a loop around Triton's own gRPC client, with pictures that are in memory already."""

import asyncio
import time

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from framematch.core.errors import FramematchError
from framematch.vision.encoder import ImageEncoder
from framematch.vision.served_models import newest_served
from framematch.vision.triton_statistics import ModelStatistics

_TIMEOUT_S, _COUNT_POLL_S = 5.0, 0.01


async def image_model(url: str) -> str:
    """The name of the newest image model that Triton serves."""
    return (await newest_served(url, timeout_s=_TIMEOUT_S)).name


async def read_statistics(url: str) -> ModelStatistics:
    """Triton's statistics of the image model."""
    async with await ImageEncoder.connect(url) as encoder:
        return await encoder.statistics()


async def statistics_since(url: str, before: ModelStatistics, *, pictures: int) -> ModelStatistics:
    """What was added after `before`, once it is all of `pictures`: Triton counts a run after it has answered."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while True:
        added = (await read_statistics(url)).since(before)
        if added.inferences == pictures:
            return added
        if added.inferences > pictures or time.monotonic() > deadline_s:
            raise FramematchError(f"Triton computed {added.inferences} pictures, not {pictures}")
        await asyncio.sleep(_COUNT_POLL_S)


async def noise(url: str, pictures: int) -> NDArray[np.uint8]:
    """One batch in the model's picture size, uint8 [N, H, W, 3]; the content does not change the time it takes."""
    async with InferenceServerClient(url) as client:
        shape = (await client.get_model_metadata(await image_model(url))).inputs[0].shape[1:]
    return np.random.default_rng(0).integers(0, 256, (pictures, *map(int, shape)), np.uint8)


async def run_bare(url: str, batch: NDArray[np.uint8], *, batches: int, in_flight: int) -> list[float]:
    """Send `batch` `batches` times, `in_flight` requests at a time, and read every answer.

    Returns the time at which each picture was done, by the monotonic clock. Nothing is decoded, searched or published.
    Each request is built anew, as by a client that gets new pictures.
    """
    done_s: list[float] = []
    model = await image_model(url)
    remaining = iter(range(batches))  # shared by all senders: each batch is sent once
    async with InferenceServerClient(url) as client:

        async def send() -> None:
            for _ in remaining:
                tensor = InferInput("pixels", list(batch.shape), "UINT8")
                tensor.set_data_from_numpy(batch)
                embeddings = (await client.infer(model, [tensor])).as_numpy("embedding")
                done_s.extend([time.monotonic()] * len(embeddings))

        await asyncio.gather(*(send() for _ in range(in_flight)))
    return done_s
