"""The reference: a loop around Triton's own gRPC client, with pictures that are in memory already."""

import asyncio
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from framematch.core.errors import FramematchError
from framematch.core.units import MS_PER_S, NS_PER_S
from framematch.vision.manifest import IMAGE_MODEL

_COUNT_TIMEOUT_S, _COUNT_POLL_S = 5.0, 0.01


class Executions(NamedTuple):
    """Triton's statistics: pictures, runs of the model for them, requests, and compute time summed over requests."""

    pictures: float
    runs: float
    requests: float = 0.0
    compute_s: float = 0.0

    def since(self, before: "Executions") -> "Executions":
        """What was added after `before`."""
        return Executions(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def inference_ms(self) -> float:
        """Mean compute time of a request, without its time in the queue."""
        return MS_PER_S * self.compute_s / self.requests


async def read_executions(url: str) -> Executions:
    """The statistics of the image model since it was loaded."""
    async with InferenceServerClient(url) as client:
        found = (await client.get_inference_statistics(IMAGE_MODEL)).model_stats[0]
    stages = found.inference_stats
    compute_ns = sum(stage.ns for stage in (stages.compute_input, stages.compute_infer, stages.compute_output))
    return Executions(found.inference_count, found.execution_count, stages.compute_infer.count, compute_ns / NS_PER_S)


async def executions_since(url: str, before: Executions, *, pictures: int) -> Executions:
    """What was added after `before`, once it is all of `pictures`: Triton counts a run after it has answered."""
    deadline = time.monotonic() + _COUNT_TIMEOUT_S
    while True:
        added = (await read_executions(url)).since(before)
        if added.pictures == pictures:
            return added
        if added.pictures > pictures or time.monotonic() > deadline:
            raise FramematchError(f"Triton computed {added.pictures} pictures, not {pictures}")
        await asyncio.sleep(_COUNT_POLL_S)


async def noise(url: str, pictures: int) -> NDArray[np.uint8]:
    """One batch in the model's picture size, uint8 [N, H, W, 3]; the content does not change the time it takes."""
    async with InferenceServerClient(url) as client:
        shape = (await client.get_model_metadata(IMAGE_MODEL)).inputs[0].shape[1:]
    return np.random.default_rng(0).integers(0, 256, (pictures, *map(int, shape)), np.uint8)


async def run_bare(url: str, batch: NDArray[np.uint8], *, batches: int, in_flight: int) -> list[float]:
    """Send `batch` `batches` times, `in_flight` requests at a time, and read every answer.

    Returns the time at which each picture was done, by the monotonic clock. Nothing is decoded, searched or published.
    Each request is made anew, as by a client that gets new pictures.
    """
    done_s: list[float] = []
    numbers = iter(range(batches))
    async with InferenceServerClient(url) as client:

        async def send_in_turn() -> None:
            for _ in numbers:  # shared by all senders: each batch is sent once
                tensor = InferInput("pixels", list(batch.shape), "UINT8")
                tensor.set_data_from_numpy(batch)
                embeddings = (await client.infer(IMAGE_MODEL, [tensor])).as_numpy("embedding")
                done_s.extend([time.monotonic()] * len(embeddings))

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(send_in_turn())
    return done_s
