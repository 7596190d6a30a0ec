"""The reference: a loop around Triton's own gRPC client, with pictures that are in memory as the model takes them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.steady import BatchDone
from framematch.core.errors import FramematchError
from framematch.vision.manifest import IMAGE_MODEL

_COUNT_TIMEOUT_S, _COUNT_POLL_S = 5.0, 0.01
_NS_PER_S = 1e9


@dataclass(frozen=True)
class Executions:
    """What Triton counted: pictures, the runs of the model that they took, and how long requests were computed.

    A request's time in the queue does not count; requests that shared a run have each its whole time.
    """

    pictures: int
    runs: int
    requests: int = 0
    compute_s: float = 0.0

    def since(self, before: "Executions") -> "Executions":
        """What was added after `before`."""
        return Executions(
            self.pictures - before.pictures,
            self.runs - before.runs,
            self.requests - before.requests,
            self.compute_s - before.compute_s,
        )

    @property
    def inference_ms(self) -> float:
        """The mean time of one inference."""
        return 1_000 * self.compute_s / self.requests


async def read_executions(url: str) -> Executions:
    """Triton's statistics of the image model since it was loaded."""
    async with InferenceServerClient(url) as client:
        found = (await client.get_inference_statistics(IMAGE_MODEL)).model_stats[0]
    stages = found.inference_stats
    compute_ns = sum(stage.ns for stage in (stages.compute_input, stages.compute_infer, stages.compute_output))
    return Executions(found.inference_count, found.execution_count, stages.compute_infer.count, compute_ns / _NS_PER_S)


async def executions_since(url: str, before: Executions, *, pictures: int) -> Executions:
    """What was added after `before`, once it is all of `pictures`: Triton counts a run after it has answered.

    Raises:
        FramematchError: it counts fewer, or more.
    """
    deadline = time.monotonic() + _COUNT_TIMEOUT_S
    while True:
        did = (await read_executions(url)).since(before)
        if did.pictures == pictures:
            return did
        if did.pictures > pictures or time.monotonic() > deadline:
            raise FramematchError(f"Triton computed {did.pictures} pictures, not {pictures}")
        await asyncio.sleep(_COUNT_POLL_S)


async def run_bare(url: str, crops: Sequence[NDArray[np.uint8]], *, batches: int, in_flight: int) -> list[BatchDone]:
    """Send `batches` requests, `in_flight` at a time, and read every answer; `crops` (uint8 [N, H, W, 3]) are repeated.

    Nothing is decoded, searched, looked up or published. Each request is made anew, as a client must that gets new
    pictures.
    """
    done: list[BatchDone] = []
    numbers = iter(range(batches))
    async with InferenceServerClient(url) as client:

        async def send_in_turn() -> None:
            for number in numbers:  # shared: each batch is sent once
                pixels = crops[number % len(crops)]
                tensor = InferInput("pixels", list(pixels.shape), "UINT8")
                tensor.set_data_from_numpy(pixels)
                result = await client.infer(IMAGE_MODEL, [tensor])
                embeddings = result.as_numpy("embedding")
                done.append(BatchDone(time.monotonic(), len(embeddings)))

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(send_in_turn())
    return done
