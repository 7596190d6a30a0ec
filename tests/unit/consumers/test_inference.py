"""A batch through the model: it retries while Triton or the model fails, and rejects pictures without embedding."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from structlog.testing import capture_logs

from consumers.in_flight_frame import Decided, Pending, Rejected
from consumers.metrics import ConsumerMetrics
from consumers.stages import inference
from consumers.stages.batcher import RegionCrop
from consumers.stages.inference import Inference
from framematch.core.errors import EmbeddingError, ModelMismatchError, TritonUnavailableError
from framematch.core.health import Health, new_registry
from framematch.matching.decision import Decision
from framematch.vector_index.queries import checked_queries
from tests.support import eventually
from tests.unit.consumers.sample_frames import fetched, make_served, prepare

DIMENSION = 3
Crops = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]
Decide = Callable[[list[RegionCrop]], Coroutine[None, None, None]]


def numbered(crops: Crops) -> Embeddings:
    """Unit vectors whose angle, in percent of a radian, is the first byte of their picture."""
    angles = crops[:, 0, 0, 0] / 100
    return np.stack([np.cos(angles), np.sin(angles), np.zeros(len(crops))], axis=1).astype(np.float32)


class Encoder:
    """Embeds, after raising these errors."""

    def __init__(self, *errors: Exception) -> None:
        self.manifest = SimpleNamespace(dimension=DIMENSION, max_batch_size=8)
        self.errors = list(errors)
        self.poison: set[int] = set()
        self.calls = 0

    async def embed(self, crops: Crops) -> Embeddings:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        found = numbered(crops)
        bad = tuple(row for row, crop in enumerate(crops) if int(crop[0, 0, 0]) in self.poison)
        if bad:
            raise EmbeddingError("no unit vectors", bad_rows=bad, embeddings=found)
        return found


class Numbers:
    """Decides by the embedding's number alone; refuses what an index refuses."""

    def match(self, embeddings: Embeddings) -> list[Decision]:
        numbers = np.round(100 * np.arctan2(*checked_queries(embeddings, DIMENSION)[:, 1::-1].T), 2).tolist()
        return [Decision("unknown", number, None, ()) for number in numbers]


@pytest.fixture
def health() -> Health:
    return Health("triton")


@pytest.fixture
def decide(health: Health) -> Iterator[Callable[[Encoder], Decide]]:
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setattr(inference, "_BACKOFF_S", (0.0, 0.0))

        def make(encoder: Any) -> Decide:
            own = Inference(search_thread=thread, metrics=ConsumerMetrics(new_registry()), health=health)
            served = make_served(encoder=encoder, matcher=Numbers())

            async def decide(regions: list[RegionCrop]) -> None:
                await own.decide([replace(region, served=served) for region in regions])

            return decide

        yield make


def batch(*regions_of: int) -> list[RegionCrop]:
    """The regions of frames with these numbers of regions; each crop's first byte counts up from 1."""
    found: list[RegionCrop] = []
    for offset, regions in enumerate(regions_of):
        frame = fetched(offset)
        prepare(frame, regions)
        for number, crop in enumerate(frame.crops):
            crop[0, 0, 0] = len(found) + 1
            found.append(RegionCrop(frame, number, crop))
    return found


def scores(regions: list[RegionCrop]) -> list[float | None]:
    return [region.frame.decision(region.number).score for region in regions]


async def test_each_region_gets_its_own_decision(decide: Callable[[Encoder], Decide], health: Health) -> None:
    regions = batch(2, 1, 3)
    await decide(Encoder())(regions)
    assert scores(regions) == [1, 2, 3, 4, 5, 6]
    assert all(region.frame.complete for region in regions)
    assert {"infer", "search"} <= regions[0].frame.spans.keys()
    assert health.ready


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (TritonUnavailableError("down"), "inference_retried"),
        (EmbeddingError("nonsense"), "model_output_invalid"),
    ],
)
async def test_it_retries_until_triton_and_its_model_work(
    decide: Callable[[Encoder], Decide], health: Health, error: Exception, event: str
) -> None:
    # A batch without any embedding is retried: the picture alone, and then the control picture.
    encoder = Encoder(*[error] * 6)
    regions = batch(1)
    with capture_logs() as logs:
        await decide(encoder)(regions)
    assert scores(regions) == [1]
    assert event in {line["event"] for line in logs}
    assert health.ready


async def test_while_it_retries_it_is_not_ready_and_decides_nothing(
    decide: Callable[[Encoder], Decide], health: Health
) -> None:
    encoder = Encoder(*[TritonUnavailableError("unreachable")] * 1_000_000)
    regions = batch(1)
    with capture_logs():
        waiting = asyncio.create_task(decide(encoder)(regions))
        try:
            await eventually(lambda: encoder.calls > 3)
            assert (health.report(), regions[0].frame.outcome) == ({"triton": "unreachable"}, Pending())
            encoder.errors.clear()
            await asyncio.wait_for(waiting, 5)
        finally:
            waiting.cancel()
    assert (health.ready, scores(regions)) == (True, [1])


async def test_another_model_is_not_retried(decide: Callable[[Encoder], Decide]) -> None:
    with pytest.raises(ModelMismatchError):
        await decide(Encoder(ModelMismatchError("another")))(batch(1))


async def test_a_picture_without_embedding_rejects_its_frame_and_no_other(
    decide: Callable[[Encoder], Decide],
) -> None:
    encoder = Encoder()
    encoder.poison = {2, 4}
    regions = batch(2, 1, 2)
    with capture_logs():
        await decide(encoder)(regions)
    first, second, third = (next(r.frame for r in regions if r.frame.record.offset == offset) for offset in range(3))
    for frame in (first, third):
        assert isinstance(frame.outcome, Rejected)
        assert (frame.outcome.stage, frame.outcome.error.reason) == ("infer", "invalid_embedding")
    assert isinstance(second.outcome, Decided)
    assert second.decision(0).score == 3
    assert all(frame.complete for frame in (first, second, third))


async def test_a_frame_in_two_batches_is_complete_after_the_second(decide: Callable[[Encoder], Decide]) -> None:
    regions = batch(3)
    own = decide(Encoder())
    await own(regions[2:])
    assert not regions[0].frame.complete
    await own(regions[:2])
    assert regions[0].frame.complete
    assert scores(regions) == [1, 2, 3]


async def test_a_batch_that_succeeds_does_not_hide_one_that_fails(
    decide: Callable[[Encoder], Decide], health: Health
) -> None:
    failing, working = Encoder(*[TritonUnavailableError("unreachable")] * 1_000_000), Encoder()
    with capture_logs():
        waiting = asyncio.create_task(decide(failing)(batch(1)))
        await eventually(lambda: failing.calls)
        await decide(working)(batch(1))
        assert health.report() == {"triton": "unreachable"}
        failing.errors.clear()
        await asyncio.wait_for(waiting, 5)
    assert health.ready
